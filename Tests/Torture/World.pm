package World;
# What the cases start from: text, tokenizers, shards, configurations, and undisturbed runs to compare with.
use strict;
use warnings;

our $base;
our @optimizers = qw(adamw muon soap galore adam_mini cosmos);
our $steps = 12;
# Settings with which every part of an optimizer is at work in so few steps.
my %settings = (
    soap => ['optimizer.precondition_frequency=4'], cosmos => ['optimizer.rank=4'],
    galore => ['optimizer.rank=4', 'optimizer.update_proj_gap=5'],
);
# What an undisturbed run does: seconds, and calls that the shim counts. By optimizer or command.
our (%seconds, %calls);

sub training {
    my ($optimizer, @more) = @_;
    return ('train', '--config', 'run.cfg', map { ('--set', $_) } "optimizer.name=$optimizer",
        @{$settings{$optimizer} // []}, @more);
}

# Commands other than training: name => [arguments, what they write].
our %commands;

sub must {
    my (%command) = @_;
    my $process = Program::run(in => $base, timeout => 300, %command);
    my $problem = Program::problem($process) // ($process->{code} ? "exit code $process->{code}: $process->{err}" : undef);
    die 'the undisturbed ' . join(' ', @{$command{args}}) . " fails: $problem\n" if defined $problem;
    return $process;
}

sub make {
    my ($repository, $progress) = @_;
    $progress->('text and tokenizers');
    mkdir "$base/text";
    Files::write("$base/text/docs.jsonl", join '', map { '{"text":"' . sentence($_, '\\n') . qq(","url":"a$_"}\n) } 1 .. 300);
    Files::write("$base/text/docs.txt", join "\n", map { sentence($_, "\n") } 1 .. 100);
    system("gzip -c '$base/text/docs.jsonl' > '$base/text/docs.jsonl.gz'") == 0 or die "gzip fails\n";
    for my $type ('unigram', 'bpe') {
        must(args => ['tokenizer', '--input', 'text/docs.jsonl', '--output', "$type.model", '--vocab-size', 400,
            '--model-type', $type]);
    }
    must(args => ['tokenize', '--tokenizer', 'unigram.model', '--input', 'text/docs.jsonl', '--output', 'train',
        '--shard-tokens', 2500]);
    must(args => ['tokenize', '--tokenizer', 'unigram.model', '--input', 'text/docs.txt', '--output', 'validation']);
    Files::write("$base/run.cfg", configuration());
    Files::write("$base/sweep.yaml", "adamw:\n  optimizer.lr: [1.0e-2, 5.0e-3]\ncosmos:\n  optimizer.rank: [4]\n");
    for my $optimizer (@optimizers) {
        $progress->("undisturbed runs: $optimizer");
        my $folder = "$base/ref/$optimizer";
        File::Path::make_path($folder);
        Files::copy("$base/run.cfg", "$folder/run.cfg");
        $seconds{$optimizer} = must(args => [training($optimizer)], in => $folder)->{seconds};
        # Another one that dies after half its steps, and tells the number of calls of the whole.
        my $half = "$base/half/$optimizer";
        File::Path::make_path($half);
        Files::copy("$base/run.cfg", "$half/run.cfg");
        must(args => [training($optimizer)], in => $half, count => "$half/calls");
        $calls{$optimizer} = 0 + Files::contents("$half/calls");
        Files::remove("$half/run");
        my $killed = Program::run(args => [training($optimizer)], in => $half,
            torture => 'kill:' . int($calls{$optimizer} * 0.7));
        die "$optimizer was not killed: $killed->{err}\n" if $killed->{died} != 9;
        Files::remove($_) for Files::leftovers($half);
    }
    $progress->('models and a sweep');
    must(args => ['export', 'ref/adamw/run', '--output', 'hf']);
    must(args => ['sweep', '--config', 'run.cfg', '--file', 'sweep.yaml', '--out', 'sweep']);
    Files::copy("$repository/Tests/CheckpointsTests/Fixtures/grouped-tied-sharded-bf16", "$base/sharded");
    # Shards that do not say of which tokenizer they are: any that knows their ids will do.
    mkdir "$base/plain";
    for my $shard (Files::names("$base/train")) {
        my $bytes = Files::contents("$base/train/$shard");
        substr($bytes, 24, 8) = "\0" x 8;
        Files::write("$base/plain/$shard", $bytes);
    }
    %commands = (
        tokenizer => [['tokenizer', '--input', "$base/text/docs.txt", '--output', 'made.model', '--vocab-size', 400,
            '--model-type', 'bpe'], 'made.model'],
        tokenize => [['tokenize', '--tokenizer', "$base/unigram.model", '--input', "$base/text/docs.txt", '--output', 'made',
            '--shard-tokens', 3000], 'made'],
        export => [['export', "$base/ref/adamw/run", '--output', 'made', '--bf16'], 'made'],
        logits => [['logits', "$base/ref/adamw/run", '--tokens', 1, 2, 3, '--output', 'made.safetensors'], 'made.safetensors'],
        compare => [['compare', "$base/sweep", '--report', 'made.html'], 'made.html'],
        plot => [['plot', "$base/sweep", '-o', 'made.svg'], 'made.svg'],
    );
    mkdir "$base/commands";
    for my $name (sort keys %commands) {
        $progress->("undisturbed $name");
        my $folder = "$base/commands/$name";
        mkdir $folder;
        $seconds{$name} = must(args => $commands{$name}[0], in => $folder, count => "$folder.calls")->{seconds};
        $calls{$name} = 0 + Files::contents("$folder.calls");
    }
}

# Words that repeat, of many letters and syllables, so that a tokenizer finds pieces enough.
sub sentence {
    my ($number, $newline) = @_;
    srand $number;
    my $text = "Document $number:";
    for my $place (1 .. 20 + $number * 7 % 30) {
        my $word = int 2**rand 9;
        srand $word;
        $text .= ($place % 11 ? ' ' : $newline) . join '', map { chr 97 + int(26 * rand() * rand()) } 1 .. 2 + rand 7;
        srand $number * 100 + $place;
    }
    return "$text. \xc3\xa9\xe2\x82\xac";
}

sub configuration {
    return <<"END";
model: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2,
        vocab_size: 400, max_position_embeddings: 32}
data: {train: $base/train, validation: $base/validation, tokenizer: $base/unigram.model, sequence_length: 16}
optimizer: {lr: 1.0e-2}
schedule: {name: cosine, warmup: 2, final_ratio: 0.1}
training: {steps: $steps, batch_size: 8, micro_batch_size: 4, threads: 1}
evaluation: {every: 4, tokens: 500}
output: {run_dir: run, checkpoint_every: 3, keep_checkpoints: 2, tensorboard: true}
END
}

# The numbers of a finished run: weights, optimizer's state, and the log without times and memory.
sub bits {
    my ($run) = @_;
    my $checkpoint = sprintf '%s/checkpoints/step-%08d', $run, $steps;
    my @log = map { join ',', (split /,/)[0 .. 6] } split /\n/, Files::contents("$run/log.csv");
    return [(map { Files::contents("$checkpoint/$_.safetensors") } 'model', 'optimizer'), join "\n", @log];
}

my %expected;

# What differs between a finished run and the undisturbed one; nothing where all is equal.
sub difference {
    my ($run, $optimizer, %given) = @_;
    my $expected = $expected{$optimizer} //= bits("$base/ref/$optimizer/run");
    my $found = bits($run);
    my @names = ('weights', "optimizer's state", 'log');
    for my $part (0 .. ($given{log} // 1) + 1) {
        return "the run ends with other $names[$part] than an undisturbed one" if $found->[$part] ne $expected->[$part];
    }
    my @leftovers = Files::leftovers($run);
    return "@leftovers is left" if @leftovers;
    my $latest = readlink "$run/checkpoints/latest";
    return 'latest is not the last checkpoint' if !defined $latest || $latest ne sprintf 'step-%08d', $steps;
    return;
}

1;
