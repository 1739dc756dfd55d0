#!/usr/bin/perl
# Divides documents (standard input) into a corpus for training and one for validation, in C4's format.
#
# Usage: split.pl TRAIN.jsonl VALIDATION.jsonl < documents
#
# A document is a line of three fields between tabs: the name of its subject or nothing, its address, its text with
# \n for a new line and \\ for \. The first line of a text is its title.
#
# A paragraph that stands in several documents is kept once. Which documents are for validation is decided by a
# hash of their text; training documents that share a passage with one are left out.
# Needs nothing beyond perl-base. The same input gives the same bytes.
use strict;
use warnings;

my $validation_percent = 3;
my $shared_run         = 8;                         # as many words in a row in common are a leak,
my $shared_line        = 4;                         # or a line of at least so many; shorter ones may repeat
my $shortest_document  = 100;                       # bytes
my $timestamp          = '1970-01-01T00:00:00Z';    # documents carry no date, and the clock's would differ by the run

# The words by which two texts are compared, without case, punctuation and numbers: as they are, and with
# the subject's own name left out, since many packages share a text but for the name.
sub words {
    my ($text, $name) = @_;
    my %own = map { $_ => 1 } grep { length > 2 } split /[^a-z0-9]+/, $name;
    my @words = map { /\d/ ? '0' : $_ } grep { $_ ne '' } split /[^a-z0-9\x80-\xff]+/, lc $text;
    return \@words if !grep { $own{$_} } @words;
    return (\@words, [map { $own{$_} ? '@' : $_ } @words]);
}

# What a document must not share with one on the other side of the split.
sub fingerprints {
    my ($document) = @_;
    my %prints;
    for my $line (split /\n/, $document->{text}) {
        for (words($line, $document->{name})) { $prints{"@$_"} = 1 if @$_ >= $shared_line }
    }
    for my $words (words($document->{text}, $document->{name})) {
        $prints{"@$words[$_ .. $_ + $shared_run - 1]"} = 1 for 0 .. @$words - $shared_run;
    }
    return keys %prints;
}

sub fnv1a {    # 32-bit FNV-1a of a string's bytes
    my $hash = 2166136261;
    $hash = (($hash ^ $_) * 16777619) & 0xffffffff for unpack 'C*', $_[0];
    return $hash;
}

sub json_string {
    my ($text) = @_;
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/\n/\\n/g;
    $text =~ s/([\x00-\x1f\x7f])/sprintf '\\u%04x', ord $1/ge;
    return "\"$text\"";
}

# In the order of the hashes, so that neighbours are strangers, as in C4.
sub write_documents {
    my ($path, @documents) = @_;
    open my $file, '>', $path or die "error: $path: $!\n";
    for my $document (sort { $a->{hash} <=> $b->{hash} || $a->{text} cmp $b->{text} } @documents) {
        printf $file "{\"text\":%s,\"timestamp\":\"%s\",\"url\":%s}\n",
            json_string($document->{text}), $timestamp, json_string($document->{url});
    }
    close $file or die "error: $path: $!\n";
}

die "usage: split.pl TRAIN.jsonl VALIDATION.jsonl < documents\n" if @ARGV != 2;

# 1. Paragraphs that no document before had.
my (@documents, %is_seen);
my ($given, $repeated) = (0, 0);
while (<STDIN>) {
    chomp;
    my ($name, $url, $text) = split /\t/, $_, 3;
    $given++;
    $text =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ge;
    my ($title, @paragraphs) = split /\n/, $text;
    my @kept;
    for my $paragraph (@paragraphs) {
        my %keys = map { @$_ >= $shared_line ? ("@$_" => 1) : () } words($paragraph, $name);
        my $is_repeated = grep { $is_seen{$_}++ } keys %keys;
        if ($is_repeated) { $repeated++ } else { push @kept, $paragraph }
    }
    $text = join "\n", $title, @kept;
    next if !@kept || length $text < $shortest_document;
    push @documents, { text => $text, name => $name, url => $url, hash => fnv1a($text) };
}
die "error: no documents on standard input\n" if !@documents;
undef %is_seen;
printf STDERR "  %d documents of %d; %d repeated paragraphs dropped\n", scalar @documents, $given, $repeated;

# 2. The split, by each document's hash.
my @validation = grep { $_->{hash} % 100 < $validation_percent } @documents;
my @training   = grep { $_->{hash} % 100 >= $validation_percent } @documents;

# 3. No leak: training documents that share a passage with a validation document are dropped.
my %held_out;
for my $document (@validation) { $held_out{$_} = 1 for fingerprints($document) }
my $candidates = @training;
@training = grep { !grep { $held_out{$_} } fingerprints($_) } @training;
printf STDERR "  %d documents for training, %d for validation; %d dropped that share a passage with the latter\n",
    scalar @training, scalar @validation, $candidates - @training;

write_documents($ARGV[0], @training);
write_documents($ARGV[1], @validation);
