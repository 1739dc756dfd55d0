package Cases;
# What is done to the program. A case works in the folder that it is given and returns what is wrong, or nothing.
use strict;
use warnings;

sub one { return $_[int rand @_] }

my @errors = (28, 5, 13, 122, 12, 24, 30);    # ENOSPC EIO EACCES EDQUOT ENOMEM EMFILE EROFS

# --- Kills ---

# Counts of what was done, for the report.
our %done;

# A run is killed, again and again, and ends with the numbers of one that was not.
sub kill_training {
    my ($folder) = @_;
    my $optimizer = one(@World::optimizers);
    Files::copy("$World::base/run.cfg", "$folder/run.cfg");
    for my $round (1 .. one(1, 1, 2, 3, 4)) {
        my @how = rand() < 0.5
            ? (torture => sprintf '%s:%d', one('kill', 'kill', 'killafter', 'torn'), 1 + rand $World::calls{$optimizer})
            : (signal => [one('KILL', 'KILL', 'KILL', 'TERM', 'INT', 'HUP'), rand $World::seconds{$optimizer}]);
        my $process = attempt($folder, $optimizer, @how);
        $done{kills}++ if $process->{died} || $process->{code} == 75;
        return $_ for Program::problem($process) // ();
        return $_ for incomplete($folder) // ();
        if (rand() < 0.3 && -d "$folder/run/checkpoints") {
            my $reader = Program::run(in => $folder, args => ['eval', 'run', '--threads', 1]);
            return $_ for Program::problem($reader) // ();
        }
    }
    return completed($folder, $optimizer);
}

# One call of the system fails, or the disk is full from some moment on; the next start goes on.
sub failing_call {
    my ($folder) = @_;
    my $optimizer = one(@World::optimizers);
    Files::copy("$World::base/run.cfg", "$folder/run.cfg");
    my $process = attempt($folder, $optimizer, torture => sprintf '%s:%d:%d', one('fail', 'fail', 'full', 'short'),
        1 + rand $World::calls{$optimizer}, one(@errors));
    $done{'failing calls'}++;
    return $_ for Program::problem($process) // ();
    return $_ for incomplete($folder) // ();
    return completed($folder, $optimizer);
}

# A file system of some size, full before the run is at its end.
sub full_disk {
    my ($folder) = @_;
    my $optimizer = one(@World::optimizers);
    my $size = 32 + int rand 600;
    mkdir "$folder/disk";
    system("mount -t tmpfs -o size=${size}k torture '$folder/disk' 2> '$folder/.mount'") == 0 or return;
    $done{'full disks'}++;
    my $problem = eval {
        Files::copy("$World::base/run.cfg", "$folder/disk/run.cfg");
        # Its messages go beside the disk.
        my $process = attempt("$folder/disk", $optimizer, outside => $folder);
        my $found = Program::problem($process) // incomplete("$folder/disk");
        system("mount -o remount,size=64m '$folder/disk'");
        $found // completed("$folder/disk", $optimizer, outside => $folder);
    };
    my $error = $@;
    Files::copy("$folder/disk", "$folder/found") if $problem || $error;
    system("umount '$folder/disk'");
    die $error if $error;
    return $problem;
}

# Starts or continues the run in a folder.
sub attempt {
    my ($folder, $optimizer, @how) = @_;
    my $holds = grep { -e "$folder/run/$_" } 'config.resolved.cfg', 'log.csv', 'checkpoints';
    my @arguments = World::training($optimizer, 'training.threads=' . one(1, 1, 2), 'output.keep_checkpoints=' . one(1, 2, 9));
    return Program::run(in => $folder, args => [@arguments, $holds ? '--resume' : ()], @how);
}

# What the folder of a run may not look like, whatever has happened to it.
sub incomplete {
    my ($folder) = @_;
    my $checkpoints = "$folder/run/checkpoints";
    for my $name (grep { /^step-/ } Files::names($checkpoints)) {
        my $manifest = Files::contents("$checkpoints/$name/MANIFEST.json");
        return "$name has no MANIFEST.json" if $manifest eq '';
        while ($manifest =~ /"([^"]+)"\s*:\s*\{([^}]*)\}/g) {
            my ($file, $summary) = ($1, $2);
            my ($bytes) = $summary =~ /"bytes"\s*:\s*(\d+)/;
            return "$name/$file is not whole" if (-s "$checkpoints/$name/$file" // -1) != $bytes;
        }
    }
    return "latest leads nowhere" if -l "$checkpoints/latest" && !-e "$checkpoints/latest";
    return;
}

# A fork of a run that was killed, killed itself and continued by `resume`, ends as the run would have; so does a run
# that goes back to an earlier step.
sub fork_or_go_back {
    my ($folder) = @_;
    my $optimizer = one(@World::optimizers);
    Files::copy("$World::base/run.cfg", "$folder/run.cfg");
    Files::copy("$World::base/half/$optimizer/run", "$folder/run");
    my ($step) = one(map { /^step-0*(\d+)$/ ? $1 : () } Files::names("$folder/run/checkpoints"));
    my ($run, @arguments) = @{one(
        ['fork', 'fork', one('run', "run\@$step"), '--set', 'output.run_dir=fork'], ['run', 'resume', 'run', '--step', $step],
    )};
    my @how = rand() < 0.5
        ? (torture => sprintf '%s:%d', one('kill', 'killafter', 'torn'), 1 + rand $World::calls{$optimizer})
        : (signal => [one('KILL', 'TERM', 'INT'), rand $World::seconds{$optimizer}]);
    my $process = Program::run(in => $folder, args => \@arguments, @how);
    $done{kills}++ if $process->{died} || $process->{code} == 75;
    return $_ for Program::problem($process) // ();
    return 'the run that was forked is changed' if $run eq 'fork' && unlike("$folder/run", "$World::base/half/$optimizer/run");
    # Killed before it was there, a fork is made again.
    my @again = -e "$folder/$run" ? ('resume', $run) : @arguments;
    push @again, '--step', $step if $run eq 'run' && rand() < 0.5 && -e sprintf "$folder/run/checkpoints/step-%08d", $step;
    my $finished = Program::run(in => $folder, args => \@again);
    return $_ for Program::problem($finished) // ();
    return "$run does not go on: $finished->{err}" if $finished->{code} != 0;
    return "$run: $_" for World::difference("$folder/$run", $optimizer) // ();
    return;
}

# Lets the run come to its end and compares it with an undisturbed one.
sub completed {
    my ($folder, $optimizer, @how) = @_;
    # A folder that was made but holds no settings yet is no run that could go on.
    if (-e "$folder/run" && !-e "$folder/run/config.resolved.cfg") {
        my $process = Program::run(in => $folder, args => [World::training($optimizer), '--replace'], @how);
        return $_ for Program::problem($process) // ();
        return "a new start fails: $process->{err}" if $process->{code} != 0;
    } else {
        my $process = attempt($folder, $optimizer, @how);
        return $_ for Program::problem($process) // ();
        return "the run does not go on: $process->{err}" if $process->{code} != 0;
    }
    return World::difference("$folder/run", $optimizer);
}

# A command other than training is killed or meets a full disk: its result is whole or not there, and the next
# attempt makes it.
sub kill_command {
    my ($folder) = @_;
    my $name = one(sort keys %World::commands);
    my ($arguments, $result) = @{$World::commands{$name}};
    my @how = rand() < 0.3 ? (signal => [one('KILL', 'TERM', 'INT', 'HUP'), rand $World::seconds{$name}])
        : (torture => sprintf '%s:%d:%d', one('kill', 'killafter', 'torn', 'fail', 'full', 'short'),
            1 + rand $World::calls{$name}, one(@errors));
    my $process = Program::run(in => $folder, args => $arguments, @how);
    $done{$process->{died} || $process->{sent} ? 'kills' : 'failing calls'}++;
    return $_ for Program::problem($process) // ();
    my $whole = "$World::base/commands/$name/$result";
    return "$name leaves half a result" if -e "$folder/$result" && unlike("$folder/$result", $whole) && $name ne 'tokenize';
    if ($name eq 'tokenize') {
        # Its shards appear one by one, the first one last.
        for my $shard (grep { /^[^.]/ } Files::names("$folder/$result")) {
            return "$shard is not whole" if unlike("$folder/$result/$shard", "$whole/$shard");
        }
    }
    return if -e "$folder/$result" && $name ne 'tokenize';
    my $again = Program::run(in => $folder, args => [@$arguments, $name eq 'tokenize' ? '--force' : ()]);
    return $_ for Program::problem($again) // ();
    return "$name fails afterwards: $again->{err}" if $again->{code} != 0;
    return "$name makes another result afterwards" if unlike("$folder/$result", $whole);
    return;
}

sub unlike {
    my ($one, $other) = @_;
    if (-d $other) {
        my @names = grep { /^[^.]/ } Files::names($other);
        return "@names" ne join(' ', grep { /^[^.]/ } Files::names($one))
            || grep { unlike("$one/$_", "$other/$_") } @names;
    }
    # A report says when it was made.
    return Files::contents($one) !~ m{</html>\s*$} if $other =~ /html$/;
    return Files::contents($one) ne Files::contents($other);
}

# --- Races ---

# Several starts at once on one folder: one wins, the others say so, and nothing is lost.
sub race {
    my ($folder) = @_;
    my $optimizer = one(@World::optimizers);
    my ($has_half, @modes) = @{one(
        [0, '', ''], [0, '', '--replace'], [0, '--replace', '--replace'], [1, '--resume', '--resume'],
        [1, '--resume', '--replace'], [1, '--replace', '--replace'], [1, '--resume', '--replace', '--replace'],
    )};
    Files::copy("$World::base/run.cfg", "$folder/run.cfg");
    Files::copy("$World::base/half/$optimizer/run", "$folder/run") if $has_half;
    my $identity = identity("$folder/run");
    my $kills = rand() < 0.3;
    my $number = 0;
    my @processes = map {
        my $process = Program::start(in => $folder, name => 'start' . ++$number,
            args => [World::training($optimizer), length ? $_ : ()], torture => 'lock:1:' . int rand 300,
            $kills && $number == 1 ? (signal => ['KILL', rand $World::seconds{$optimizer}]) : ());
        Program::nap(rand 0.1) if rand() < 0.7;
        $process;
    } @modes;
    Program::finish($_) for @processes;
    $done{races}++;
    for (@processes) { return $_ for Program::problem($_) // () }
    return 'nobody wins: ' . join ' / ', map { $_->{err} } @processes if !$kills && !grep { $_->{code} == 0 } @processes;
    my @runs = grep { /^run(\.old-\d+)?$/ } Files::names($folder);
    my $is_there = !defined $identity;
    for my $run (@runs) {
        next unless -e "$folder/$run/config.resolved.cfg";
        $is_there ||= (identity("$folder/$run") // '') eq $identity;
        my $process = Program::run(in => $folder, args => [World::training($optimizer, "output.run_dir=$run"), '--resume']);
        return $_ for Program::problem($process) // ();
        return "$run does not go on: $process->{err}" if $process->{code} != 0;
        return "$run: $_" for World::difference("$folder/$run", $optimizer) // ();
    }
    return "the run that was there is lost; there are @runs" unless $is_there;
    return;
}

sub identity {
    my ($run) = @_;
    for (grep { /^step-/ } Files::names("$run/checkpoints")) {
        return $1 if Files::contents("$run/checkpoints/$_/trainer.json") =~ /"id"\s*:\s*"([^"]+)"/;
    }
    return;
}

# A sweep is killed, or two are started at once; the same command then finishes it.
sub sweep {
    my ($folder) = @_;
    Files::copy("$World::base/$_", "$folder/$_") for 'run.cfg', 'sweep.yaml';
    my @arguments = ('sweep', '--config', 'run.cfg', '--file', 'sweep.yaml', '--out', 'sweep');
    if (rand() < 0.5) {
        my $process = Program::run(in => $folder, args => \@arguments, signal => [one('KILL', 'TERM', 'INT'), rand 2]);
        $done{kills}++ if $process->{died} || $process->{code} == 75;
        return $_ for Program::problem($process) // ();
        Program::nap(3) if $process->{died};    # Its runs notice that it is gone, and stop.
    } else {
        my @both = map { Program::start(in => $folder, name => "start$_", args => \@arguments, torture => 'lock:1:' . int rand 300) } 1, 2;
        Program::finish($_) for @both;
        $done{races}++;
        for (@both) { return $_ for Program::problem($_) // () }
        return 'two sweeps run in one folder' if 2 == grep { $_->{code} == 0 && $_->{err} !~ /finished before/ } @both;
    }
    my $again = Program::run(in => $folder, args => \@arguments, timeout => 120);
    return $_ for Program::problem($again) // ();
    return "the sweep does not go on: $again->{err}" if $again->{code} != 0;
    for my $run (grep { -d "$World::base/sweep/$_/checkpoints" } Files::names("$World::base/sweep")) {
        my ($found, $expected) = map { World::bits("$_/sweep/$run") } $folder, $World::base;
        return "the sweep's run $run ends with other numbers" if "@$found" ne "@$expected";
    }
    return;
}

# A shard is cut short or rewritten while a run reads it: an error at most, and once it is back the run goes on.
sub disturbed_data {
    my ($folder) = @_;
    my $optimizer = one(@World::optimizers);
    Files::copy("$World::base/$_", "$folder/$_") for 'run.cfg', 'train';
    my $shard = "$folder/train/" . one(Files::names("$folder/train"));
    my $bytes = Files::contents($shard);
    my @arguments = World::training($optimizer, 'data.train=train');
    my $process = Program::start(in => $folder, args => \@arguments);
    Program::nap(rand $World::seconds{$optimizer});
    if (rand() < 0.5) {
        truncate $shard, rand length $bytes;
    } else {
        open my $file, '+<:raw', $shard or die "cannot open $shard: $!\n";
        seek $file, 1024, 0;
        print $file "\xff" x (length($bytes) - 1024);
        close $file;
    }
    Program::finish($process);
    $done{'disturbed runs'}++;
    return $_ for Program::problem($process) // ();
    Files::write($shard, $bytes);
    my $holds = -e "$folder/run/config.resolved.cfg";
    my $again = Program::run(in => $folder, args => [@arguments, $holds ? '--resume' : ()]);
    return $_ for Program::problem($again) // ();
    return "the run does not go on: $again->{err}" if $again->{code} != 0;
    return World::difference("$folder/run", $optimizer);
}

# A link that lies where the program writes: what it leads to stays as it is.
sub planted_link {
    my ($folder) = @_;
    my $victim = "$folder/victim";
    Files::write($victim, 'precious');
    Files::copy("$World::base/$_", "$folder/$_") for 'run.cfg', 'sweep.yaml', 'sweep';
    Files::copy("$World::base/half/adamw/run", "$folder/run");
    my ($place, @arguments) = @{one(
        (map { [$_, World::training('adamw'), '--resume'] } 'run/.lock', 'run/train.log', 'run/log.csv', 'run/history.json',
            'run/config.resolved.cfg'),
        (map { [$_, World::training('adamw'), '--replace'] } 'run/.lock', 'run/train.log'),
        (map { [$_, 'sweep', '--config', 'run.cfg', '--file', 'sweep.yaml', '--out', 'sweep'] } 'sweep/.lock',
            'sweep/summary.csv', map { "sweep/output/$_" } Files::names("$folder/sweep/output")),
        ['made.svg', 'plot', 'run', '-o', 'made.svg'],
        ['made', 'export', "$World::base/ref/adamw/run", '--output', 'made'],
        ['made.html', 'compare', 'sweep', '--report', 'made.html'],
        ['made.model', 'tokenizer', '--input', "$World::base/text/docs.txt", '--output', 'made.model', '--vocab-size', 400],
    )};
    # What says nothing of a run that is finished is of one that is not.
    Files::remove("$folder/sweep/$1") if $place =~ m{^sweep/output/(.*)\.txt$};
    unlink "$folder/$place";
    symlink $victim, "$folder/$place" or die "cannot link $place: $!\n";
    my $process = Program::run(in => $folder, args => \@arguments);
    $done{'planted links'}++;
    return $_ for Program::problem($process) // ();
    return "$place is followed to a file elsewhere" if Files::contents($victim) ne 'precious';
    return;
}

# --- Mutated inputs ---

my $half = sub { Files::copy("$World::base/half/adamw", "$_[0]/half"); rename "$_[0]/half/run", "$_[0]/run" };
my $hf = sub { Files::copy("$World::base/hf", "$_[0]/hf") };
my @hf_commands = (
    sub { 'eval', 'hf', '--data', "$World::base/validation", '--sequence-length', 16, '--tokens', 200, '--threads', 1 },
    sub { 'logits', 'hf', '--tokens', 1, 2, 3, '--output', 'l.safetensors', '--threads', 1 },
    sub { 'export', 'hf', '--output', 'exported' },
    sub { 'generate', 'hf', '--prompt', 'the', '--max-tokens', 5, '--threads', 1 },
);
my $checkpoint = sub { (sort glob("$_[0]/run/checkpoints/step-*"))[-1] };
my @run_commands = (
    sub { World::training('adamw'), '--resume' }, sub { World::training('adamw'), '--resume' },
    sub { 'eval', 'run', '--threads', 1, '--tokens', 200 }, sub { 'compare', 'run', "$World::base/ref/adamw/run", '--force' },
    sub { 'generate', 'run', '--max-tokens', 3, '--threads', 1 }, sub { 'export', 'run', '--output', 'exported' },
    sub { 'resume', 'run' }, sub { 'resume', 'run', '--step', one(3, 6, 9) },
    sub { 'fork', 'run', '--set', 'output.run_dir=fork' }, sub { 'plot', 'run', '-o', 'made.svg' },
);
my @text_commands = (
    sub { 'tokenize', '--tokenizer', "$World::base/unigram.model", '--input', $_[0], '--output', 'made', '--threads', 1 },
    sub { 'tokenize', '--tokenizer', "$World::base/bpe.model", '--input', $_[0], '--output', 'made', '--threads', 1, '--skip-bad-lines' },
    sub { 'tokenizer', '--input', $_[0], '--output', 'made.model', '--vocab-size', 400, '--model-type', 'bpe' },
);

# name => { prepare: makes the files; file: which one is mutated; command }. `same`: where the command is a resumed run and
# ends well, its numbers must be those of the undisturbed one.
my %inputs = (
    'configuration' => {
        prepare => sub { Files::copy("$World::base/run.cfg", "$_[0]/run.cfg") }, file => sub { "$_[0]/run.cfg" },
        commands => [
            sub { 'plan', '--no-probe', '--config', 'run.cfg' }, sub { 'plan', '--no-probe', '--config', 'run.cfg' },
            sub { 'sweep', '--config', 'run.cfg', '--vary', 'optimizer.lr=1e-2,1e-3', '--out', 'sweep', '--dry-run' },
            sub { '--config', 'run.cfg', '--set', 'output.run_dir=run', '--set', 'training.steps=2' },
        ],
        signal => ['TERM', 4], memory => 0,
    },
    'sweep file' => {
        prepare => sub { Files::copy("$World::base/$_", "$_[0]/$_") for 'run.cfg', 'sweep.yaml' },
        file => sub { "$_[0]/sweep.yaml" },
        commands => [sub { 'sweep', '--config', 'run.cfg', '--file', 'sweep.yaml', '--out', 'sweep', '--dry-run' }],
    },
    'shards' => {
        prepare => sub { Files::copy("$World::base/$_", "$_[0]/$_") for 'run.cfg', 'train' },
        file => sub { "$_[0]/train/" . one(Files::names("$_[0]/train")) },
        commands => [
            sub { 'eval', "$World::base/hf", '--data', 'train', '--sequence-length', 16, '--tokens', 200, '--threads', 1 },
            sub { 'eval', "$World::base/hf", '--data', 'train', '--sequence-length', 16, '--tokens', 200, '--packing', 'documents' },
            sub { World::training('adamw', 'data.train=train', 'training.steps=2', 'data.packing=' . one('stream', 'documents')) },
        ],
    },
    'tokenizer' => {
        prepare => sub { Files::copy("$World::base/" . one('unigram', 'bpe') . '.model', "$_[0]/t.model") },
        file => sub { "$_[0]/t.model" },
        commands => [
            sub { 'tokenize', '--tokenizer', 't.model', '--input', "$World::base/text/docs.txt", '--output', 'made', '--threads', 1 },
            sub { 'generate', "$World::base/hf", '--tokenizer', 't.model', '--prompt', 'the cat', '--max-tokens', 5 },
        ],
    },
    'tokenizer.json' => {
        prepare => sub { Files::copy("$World::base/run.cfg", "$_[0]/run.cfg"); Files::copy("$World::base/hf/tokenizer.json", "$_[0]/t.json") },
        file => sub { "$_[0]/t.json" },
        commands => [sub { World::training('adamw', "data={train: $World::base/plain, tokenizer: t.json, sequence_length: 16}", 'training.steps=2') }],
    },
    'weights' => { prepare => $hf, file => sub { "$_[0]/hf/model.safetensors" }, commands => \@hf_commands },
    'config.json' => { prepare => $hf, file => sub { "$_[0]/hf/config.json" }, commands => \@hf_commands },
    'other files of a model' => {
        prepare => $hf, file => sub { "$_[0]/hf/" . one(grep { !/^(config.json|model.safetensors)$/ } Files::names("$_[0]/hf")) },
        commands => \@hf_commands,
    },
    'sharded weights' => {
        prepare => sub { Files::copy("$World::base/sharded", "$_[0]/hf") },
        file => sub { "$_[0]/hf/" . one('model.safetensors.index.json', grep { /^model|config/ } Files::names("$_[0]/hf")) },
        commands => [@hf_commands[1, 2]],
    },
    'checkpoint' => {
        prepare => $half, same => 1, commands => \@run_commands,
        file => sub { my $folder = $checkpoint->($_[0]); "$folder/" . one(Files::names($folder)) },
    },
    'checkpoint with a right manifest' => {
        prepare => $half, commands => \@run_commands, repair => 1,
        file => sub { my $folder = $checkpoint->($_[0]); "$folder/" . one('trainer.json', Files::names($folder)) },
    },
    'log.csv' => {
        prepare => $half, same => 1, commands => [@run_commands[0, 3, 9]], file => sub { "$_[0]/run/log.csv" },
    },
    'other files of a run' => {
        prepare => $half, commands => \@run_commands,
        file => sub { "$_[0]/run/" . one(grep { -f "$_[0]/run/$_" } Files::names("$_[0]/run")) },
    },
    'latest' => {
        prepare => $half, same => 1, commands => \@run_commands, file => sub { "$_[0]/run/checkpoints/latest" },
        mutate => sub {
            my ($link) = @_;
            my $target = readlink $link;
            unlink $link;
            one(
                sub { }, sub { symlink 'nowhere', $link }, sub { symlink 'latest', $link }, sub { Files::write($link, 'x') },
                sub { mkdir $link }, sub { Files::copy("$link/../$target", $link) }, sub { symlink 'step-00000003', $link },
                sub { symlink '../../../../..', $link }, sub { mkdir "$link/../step-99999999" },
            )->();
        },
    },
    'summary of a sweep' => {
        prepare => sub { Files::copy("$World::base/$_", "$_[0]/$_") for 'run.cfg', 'sweep.yaml', 'sweep' },
        file => sub { "$_[0]/sweep/" . one('summary.csv', 'summary.csv', one(grep { -d "$_[0]/sweep/$_/checkpoints" }
            Files::names("$_[0]/sweep")) . '/' . one('log.csv', 'config.resolved.cfg', 'train.log')) },
        commands => [
            sub { 'compare', 'sweep' }, sub { 'compare', 'sweep', '--report', 'report.html', '--force' },
            sub { 'sweep', '--config', 'run.cfg', '--file', 'sweep.yaml', '--out', 'sweep', '--dry-run' },
        ],
    },
    'JSON lines' => { text('docs.jsonl') },
    'plain text' => { text('docs.txt') },
    'gzip' => { text('docs.jsonl.gz') },
    'JSON lines in gzip' => {
        text('docs.jsonl'), commands => [map { my $command = $_; sub { $command->('docs.jsonl.gz') } } @text_commands],
        afterwards => sub { system("gzip -f '$_[0]/docs.jsonl'") },
    },
);

sub text {
    my ($name) = @_;
    return (
        prepare => sub { Files::copy("$World::base/text/$name", "$_[0]/$name") }, file => sub { "$_[0]/$name" },
        commands => [map { my $command = $_; sub { $command->($name) } } @text_commands],
    );
}

# A file that is read is not as it was written: an error that says so, or a result.
sub mutated_input {
    my ($folder) = @_;
    my $name = one(sort keys %inputs);
    my $input = $inputs{$name};
    $input->{prepare}->($folder);
    my $file = $input->{file}->($folder);
    if ($input->{mutate}) { $input->{mutate}->($file) } else { Files::write($file, Mutation::of(Files::contents($file))) }
    $input->{afterwards}->($folder) if $input->{afterwards};
    repair($file) if $input->{repair};
    my $command = one(@{$input->{commands}});
    my @arguments = $command->();
    my $process = Program::run(in => $folder, args => \@arguments, signal => $input->{signal}, timeout => 40,
        memory => $input->{memory} // 4e9);
    $done{inputs}++;
    return "$name: $_" for Program::problem($process) // ();
    my @leftovers = Files::leftovers($folder);
    return "$name: @leftovers is left" if @leftovers;
    if ($process->{code} != 0) {
        for ('made', 'made.model', 'made.svg', 'exported', 'l.safetensors', 'report.html') {
            return "$name: the command fails ($process->{code}) and leaves $_: $process->{err}"
                if -e "$folder/$_" && (!-d _ || Files::names("$folder/$_"));
        }
    } elsif ($input->{same} && grep { $_ eq '--resume' || $_ eq 'resume' } @arguments) {
        return "$name: $_" for World::difference("$folder/run", 'adamw', log => $name ne 'log.csv' ? 1 : 0) // ();
    }
    return;
}

# Enters a changed file into the manifest beside it.
sub repair {
    my ($file) = @_;
    my ($folder, $name) = $file =~ m{^(.*)/([^/]+)$};
    my $manifest = Files::contents("$folder/MANIFEST.json");
    my $bytes = Files::contents($file);
    my ($size, $crc) = (length $bytes, Files::crc32($bytes));
    my ($begin, $summary, $end) = $manifest =~ /^(.*"\Q$name\E"\s*:\s*\{)([^}]*)(\}.*)$/s or return;
    $summary =~ s/("bytes"\s*:\s*)\d+/$1$size/;
    $summary =~ s/("crc32"\s*:\s*)\d+/$1$crc/;
    Files::write("$folder/MANIFEST.json", "$begin$summary$end");
}

# What a case does, by the share of all cases.
my @kinds = (
    [0.035, \&kill_training], [0.015, \&failing_call], [0.008, \&full_disk], [0.015, \&kill_command], [0.01, \&fork_or_go_back], [0.012, \&race],
    [0.004, \&sweep], [0.005, \&disturbed_data], [0.005, \&planted_link], [1, \&mutated_input],
);

sub any {
    my ($folder) = @_;
    my $place = rand;
    for (@kinds) {
        my ($share, $kind) = @$_;
        return $kind->($folder) if $place < $share;
        $place -= $share;
    }
}

1;
