# Runs cases for some time, several at once, and reports what is wrong. See scripts/torture.sh, which starts it:
#
#     torture.pl REPOSITORY PROGRAM SHIM SCRATCH MINUTES SEED JOBS [CASE]
use strict;
use warnings;
use File::Basename ();
use lib File::Basename::dirname(__FILE__);
use POSIX ();
use Files;
use Program;
use Mutation;
use World;
use Cases;

my ($repository, $program, $shim, $scratch, $minutes, $seed, $jobs, $case) = @ARGV;
($Program::path, $Program::shim, $World::base) = ($program, $shim, "$scratch/base");
$| = 1;
my $is_terminal = -t STDERR;
my $started = Program::now();

sub show { print STDERR $is_terminal ? "\r\e[K$_[0]" : '' }

mkdir $World::base or die "cannot make $World::base: $!\n";
World::make($repository, sub { show("preparing: $_[0]") });

# Makes one case in a folder of its own. What is wrong with it, or nothing.
sub make {
    my ($number, $folder) = @_;
    Files::remove($folder);
    mkdir $folder or die "cannot make $folder: $!\n";
    # Every case can be made again from its number. Neighbours must have nothing in common.
    srand Files::crc32("$seed $number");
    %Cases::done = ();
    return eval { Cases::any($folder) } // ($@ ? "the case itself fails: $@" : undef);
}

if (defined $case) {
    my $problem = make($case, "$scratch/case-$case");
    show('');
    print "case $case of seed $seed, in $scratch/case-$case: ", $problem // 'all is well', "\n";
    exit(defined $problem ? 1 : 0);
}

# Each worker takes every `jobs`th case and says how it went: a line "number kinds ...", then its problem.
my $end = Program::now() + 60 * $minutes;
pipe my $reader, my $writer or die "cannot make a pipe: $!\n";
my @workers = map {
    my $worker = $_;
    my $pid = fork // die "cannot fork: $!\n";
    if ($pid == 0) {
        close $reader;
        my $folder = "$scratch/worker-$worker";
        for (my $number = $worker; Program::now() < $end; $number += $jobs) {
            my $problem = make($number, $folder);
            # What is kept of a failed case; not more than a disk holds.
            rename $folder, "$scratch/case-$number" if defined $problem;
            my $text = join(' ', $number, map { s/ /_/gr . "=$Cases::done{$_}" } sort keys %Cases::done) . "\n";
            $text .= "problem $_\n" for defined $problem ? split /\n/, $problem : ();
            # One write, which is whole as long as it is short.
            syswrite $writer, substr($text, 0, 4000) =~ s/\n?\z/\n/r;
        }
        POSIX::_exit(0);
    }
    $pid;
} 1 .. $jobs;
close $writer;

my (%counts, %times, $told, $failed, $last, $shown);
my $cases = 0;
sub counted {
    my $text = join ', ', map { "$counts{$_} $_" } sort keys %counts;
    return "$cases cases ($text), " . ($failed // 0) . ' failed';
}
my $buffer = '';
while (1) {
    my $ready = '';
    vec($ready, fileno $reader, 1) = 1;
    if (select $ready, undef, undef, 1) {
        sysread $reader, $buffer, 65536, length $buffer or last;
        while ($buffer =~ s/^([^\n]*)\n//) {
            my $line = $1;
            if ($line =~ s/^problem //) {
                if (defined $last) {
                    $failed++;
                    show('');
                    # What fails in the same way again and again is told three times.
                    $told = ++$times{$line =~ s/\d+|worker.*|'[^']*'//gr} <= 3;
                    print "FAILED case $last; again with: scripts/torture.sh --seed $seed --case $last; ",
                        "its files: $scratch/case-$last\n" if $told;
                    undef $last;
                }
                print "    $line\n" if $told;
            } else {
                ($last, my @done) = split / /, $line;
                $cases++;
                for (@done) {
                    my ($kind, $count) = split /=/;
                    $counts{$kind =~ s/_/ /gr} += $count;
                }
            }
        }
    }
    my $now = Program::now();
    my $left = $end > $now ? $end - $now : 0;
    my $status = sprintf '%d:%02d left   %s', $left / 60, $left % 60, counted();
    if ($is_terminal) {
        show($status);
    } elsif (!defined $shown || $now - $shown >= 60) {
        print STDERR "$status\n";
        $shown = $now;
    }
}
waitpid $_, 0 for @workers;
show('');
printf "%s, in %.0f s, seed %s\n", counted(), Program::now() - $started, $seed;
exit($failed ? 1 : 0);
