package Program;
# Runs the program under test, and judges how it ended.
use strict;
use warnings;
use POSIX ();

our ($path, $shim);
my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());
my %number = (HUP => 1, INT => 2, KILL => 9, TERM => 15);

# Seconds since some moment in the past.
sub now { return (POSIX::times())[0] / $ticks }

sub nap { select undef, undef, undef, $_[0] }

# Starts a command: args (after the program's name), in (its folder), name (of its output files), torture (for the shim),
# memory (bytes of address space that it may have), timeout and signal (see finish).
sub start {
    my (%command) = @_;
    my ($folder, $name) = ($command{in}, $command{name} // 'command');
    # Where its messages go.
    my $outside = $command{outside} // $folder;
    my $pid = fork // die "cannot fork: $!\n";
    if ($pid == 0) {
        setpgrp 0, 0;
        chdir $folder or POSIX::_exit(121);
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$outside/.$name.out" or POSIX::_exit(122);
        open STDERR, '>', "$outside/.$name.err" or POSIX::_exit(123);
        $ENV{LC_ALL} = 'C';
        if (defined $command{torture}) { @ENV{'LD_PRELOAD', 'COSMOS_TORTURE'} = ($shim, $command{torture}) }
        if (defined $command{count}) { @ENV{'LD_PRELOAD', 'COSMOS_TORTURE_COUNT'} = ($shim, $command{count}) }
        my @start = $command{memory}
            ? ('bash', '-c', 'ulimit -v "$0" && exec "$@"', int($command{memory} / 1024), $path) : ($path);
        exec { $start[0] } @start, @{$command{args}} or POSIX::_exit(124);
    }
    return { %command, name => $name, outside => $outside, pid => $pid, started => now() };
}

# Waits for its end. signal => [NAME, SECONDS] sends a signal so long after the start; after `timeout` seconds it hangs.
sub finish {
    my ($process) = @_;
    my $timeout = $process->{timeout} // 60;
    my ($signal, $moment) = @{$process->{signal} // []};
    my $pause = 0.002;
    my ($seconds, $looked) = (0, $process->{started});
    while (waitpid($process->{pid}, POSIX::WNOHANG()) == 0) {
        # Time in which this program itself stood still, as everything may, does not count.
        my $passed = now() - $looked;
        $looked += $passed;
        $seconds += $passed < 1 ? $passed : 1;
        if (defined $moment && $seconds >= $moment) {
            kill $signal, $process->{pid};
            $process->{sent} = $signal;
            undef $moment;
        }
        if ($seconds > $timeout) {
            $process->{hung} = 1;
            kill 'KILL', -$process->{pid};
            waitpid $process->{pid}, 0;
            last;
        }
        nap($pause);
        $pause *= 1.2 if $pause < 0.02;
    }
    @$process{'died', 'code'} = ($? & 127, $? >> 8);
    $process->{seconds} = now() - $process->{started};
    $process->{out} = Files::contents("$process->{outside}/.$process->{name}.out");
    $process->{err} = Files::contents("$process->{outside}/.$process->{name}.err");
    unlink map { "$process->{outside}/.$process->{name}.$_" } 'out', 'err';
    return $process;
}

sub run { return finish(start(@_)) }

# What is wrong with the way a command ended; nothing where all is well.
sub problem {
    my ($process) = @_;
    my $line = join ' ', 'cosmos-train', map { /[\s'"]/ ? "'$_'" : $_ } @{$process->{args}};
    $line = "COSMOS_TORTURE=$process->{torture} $line" if defined $process->{torture};
    my $fault = fault($process) // return;
    my @said = split /\n/, $process->{err};
    splice @said, 4, @said - 8, '...' if @said > 8;
    return "$fault: $line\n" . join '', map { substr("      $_", 0, 300) . "\n" } @said;
}

sub fault {
    my ($process) = @_;
    my ($died, $code, $err) = @$process{'died', 'code', 'err'};
    return 'it hangs' if $process->{hung};
    my $sent = $process->{sent} ? $number{$process->{sent}} : 0;
    if ($died) {
        return if $died == $sent || ($died == 9 && defined $process->{torture});
        return "it dies by signal $died";
    }
    return if $sent && $code == 128 + $sent;
    return "its exit code is $code" unless grep { $_ == $code } 0, 64, 65, 70, 74, 75;
    return "it stopped (75) though nobody asked" if $code == 75 && !$sent;
    return "it fails ($code) without a message" if $code != 0 && $code != 75 && $err !~ /^error: /m;
    return 'a message has control characters' if $err =~ /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/;
    return;
}

1;
