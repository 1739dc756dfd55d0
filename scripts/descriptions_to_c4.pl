#!/usr/bin/perl
# Turns the package archive's descriptions (standard input) into documents in C4's format: see make_corpus.sh.
#
# Usage: descriptions_to_c4.pl TRAIN.jsonl VALIDATION.jsonl < stanzas
#
# A stanza "Pages: URL" names the web address under which the packages after it have their pages.
# Needs nothing beyond perl-base. The same input gives the same bytes.
use strict;
use warnings;

my $validation_percent = 3;
my $shared_run         = 8;                         # as many words in a row in common are a leak,
my $shared_line        = 4;                         # or a line of at least so many
my $shortest_document  = 100;                       # bytes
my $timestamp          = '1970-01-01T00:00:00Z';    # descriptions carry no date, and the clock's would differ by the run

# The lines of an extended description as paragraphs, each unfolded into one line, and so each item of a list.
sub paragraphs {
    my (@paragraphs, $item_indent);
    my $start = 1;
    for my $line (@_) {
        my ($indent, $text) = $line =~ /^ (\s*)(.*?)\s*$/ or next;
        if ($text eq '.' || $text eq '') { $start = 1; next }
        $text =~ s/\s+/ /g;
        my $is_item = $text =~ s/^(?:[-*+o]|\xe2\x80\xa2|\xc2\xb7) (?=.)/- /;
        # A line goes on with the item before it when it is indented, or cannot begin a sentence.
        my $continues = defined $item_indent ? $indent ne '' || ($item_indent eq '' && $text =~ /^[a-z]/) : $indent eq '';
        if    ($start)                  { push @paragraphs, $text; undef $item_indent }
        elsif ($is_item || !$continues) { $paragraphs[-1] .= "\n$text"; undef $item_indent }
        else                            { $paragraphs[-1] .= " $text" }
        $item_indent = $indent if $is_item;
        $start = 0;
    }
    return @paragraphs;
}

# The words by which two texts are compared, without case, punctuation and numbers: as they are, and with
# the package's own name left out, since many packages share a text but for the name.
sub words {
    my ($text, $package) = @_;
    my %own = map { $_ => 1 } grep { length > 2 } split /[^a-z0-9]+/, $package;
    my @words = map { /\d/ ? '0' : $_ } grep { $_ ne '' } split /[^a-z0-9\x80-\xff]+/, lc $text;
    return ([@words], [map { $own{$_} ? '@' : $_ } @words]);
}

# What a document must not share with one on the other side of the split.
sub fingerprints {
    my ($document) = @_;
    my %prints;
    for my $line (split /\n/, $document->{text}) {
        for (words($line, $document->{package})) { $prints{"@$_"} = 1 if @$_ >= $shared_line }
    }
    for my $words (words($document->{text}, $document->{package})) {
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

die "usage: descriptions_to_c4.pl TRAIN.jsonl VALIDATION.jsonl < stanzas\n" if @ARGV != 2;

# 1. Documents: the short description, and the paragraphs that no document before had.
my (@documents, %seen_package, %seen_paragraph);
my ($pages, $packages, $repeated) = ('', 0, 0);
{
    local $/ = '';
    while (my $stanza = <STDIN>) {
        if ($stanza =~ /^Pages: (\S+)/) { $pages = $1; next }
        my ($package) = $stanza =~ /^Package: (\S+)$/m or next;
        my ($title, $body) = $stanza =~ /^Description-en: (.*)\n((?:[ \t].*\n?)*)/m or next;
        next if $seen_package{$package}++ || !utf8::decode(my $copy = $stanza);    # not UTF-8
        $packages++;
        my @kept;
        for my $paragraph (paragraphs(split /\n/, $body)) {
            next if ($paragraph =~ tr/a-zA-Z//) * 2 < length $paragraph;           # tables, drawings
            my %keys = map { ("@$_" => 1) } words($paragraph, $package);
            my $seen = grep { $seen_paragraph{$_}++ } keys %keys;
            if ($seen) { $repeated++ } else { push @kept, $paragraph }
        }
        my $text = join "\n", $title, @kept;
        next if !@kept || length $text < $shortest_document;
        push @documents, { text => $text, package => $package, url => "$pages/$package", hash => fnv1a($text) };
    }
}
die "error: no package descriptions on standard input\n" if !@documents;
printf STDERR "  %d packages, %d documents; %d repeated paragraphs dropped\n", $packages, scalar @documents, $repeated;

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
