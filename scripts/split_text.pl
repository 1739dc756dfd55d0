#!/usr/bin/perl
# Divides a person's own text into documents for training and for validation, in C4's format.
#
# Usage: split_text.pl TRAIN.jsonl VALIDATION.jsonl FILE ...
#
# *.jsonl, *.json: a document a line, taken as it is. Any other file: UTF-8 text, one document. Either may be
# gzipped (*.gz). About one part in twenty is for validation: of a hundred documents or more, those with the
# lowest hashes of their text, so that equal documents lie on the same side; of fewer, the end of each.
# Needs nothing beyond perl-base. The same input gives the same bytes.
use strict;
use warnings;

my $validation_share = 0.05;
my $many             = 100;

sub fail { print STDERR "error: $_[0]\nhint: $_[1]\n"; exit 65 }

# Calls $take->(text or JSON line, is_json) for each document of a file.
sub each_document {
    my ($path, $take) = @_;
    my $packed = $path =~ /\.gz$/;
    my $handle;
    if   ($packed) { open $handle, '-|', 'gzip', '-dc', $path or fail("cannot read $path: $!", 'check the path') }
    else           { open $handle, '<', $path or fail("cannot read $path: $!", 'check the path') }
    binmode $handle;
    my $is_json = $path =~ /\.jsonl?(\.gz)?$/;
    local $/ = $is_json ? "\n" : undef;
    while (my $document = <$handle>) {
        utf8::decode(my $copy = $document)
            or fail($is_json ? "$path:$.: not UTF-8" : "$path is not UTF-8 text", 'convert it, for example: iconv -f latin1 -t utf8');
        if ($is_json) { chomp $document }
        $take->($document, $is_json) if $document =~ /\S/;
    }
    close $handle or fail("cannot unpack $path", 'test it with: gzip --test');
}

sub hash_of {    # 32-bit FNV-1a of a document's beginning and length: equal documents have equal hashes
    my $hash = 2166136261;
    $hash = (($hash ^ $_) * 16777619) & 0xffffffff for unpack 'C*', substr($_[0], 0, 4096) . length $_[0];
    return $hash;
}

# A text as it stands within a JSON string.
sub escaped {
    my ($text) = @_;
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/\n/\\n/g;
    $text =~ s/([\x00-\x1f\x7f])/sprintf '\\u%04x', ord $1/ge;
    return $text;
}

sub json_line { return "{\"text\":\"$_[0]\"}" }

# A document's escaped text; a line without one is left to the tokenizer to complain about.
sub text_of {
    my ($document, $is_json) = @_;
    return escaped($document) if !$is_json;
    return $document =~ /"text"\s*:\s*"((?:[^"\\]|\\.)*)"/ ? $1 : undef;
}

die "usage: split_text.pl TRAIN.jsonl VALIDATION.jsonl FILE ...\n" if @ARGV < 3;
my ($train_path, $validation_path, @files) = @ARGV;

my @hashes;
for my $file (@files) {
    each_document($file, sub { push @hashes, hash_of($_[0]) });
}
fail('there is no text in ' . join(', ', @files[0 .. ($#files > 2 ? 2 : $#files)]), 'give files that hold some') if !@hashes;
my $threshold = (sort { $a <=> $b } @hashes)[int(@hashes * $validation_share)];

open my $train,      '>', $train_path      or die "error: $train_path: $!\n";
open my $validation, '>', $validation_path or die "error: $validation_path: $!\n";
my ($next, $for_training, $for_validation) = (0, 0, 0);
for my $file (@files) {
    each_document($file, sub {
        my ($document, $is_json) = @_;
        my $hash = $hashes[$next++];
        if (@hashes >= $many) {
            my $is_held_out = $hash <= $threshold;
            print { $is_held_out ? $validation : $train } $is_json ? $document : json_line(escaped($document)), "\n";
            $is_held_out ? $for_validation++ : $for_training++;
            return;
        }
        my $text = text_of($document, $is_json);
        my $cut = defined $text ? index $text, ' ', int(length($text) * (1 - $validation_share)) : -1;
        if ($cut < 0) { print $train $is_json ? $document : json_line($text), "\n" }
        else {
            print $train json_line(substr $text, 0, $cut), "\n";
            print $validation json_line(substr $text, $cut + 1), "\n";
            $for_validation++;
        }
        $for_training++;
    });
}
close $train      or die "error: $train_path: $!\n";
close $validation or die "error: $validation_path: $!\n";
fail('the text is too short to be divided', 'give more of it') if !$for_training || !$for_validation;
if (@hashes >= $many) {
    print STDERR "  $for_training documents for training, $for_validation for validation\n";
} else {
    print STDERR "  $for_training documents; the last twentieth of each is for validation\n";
}
