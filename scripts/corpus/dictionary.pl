#!/usr/bin/perl
# Turns a dictionary in dictd's format into documents, an entry each: see split.pl for the format.
#
# Usage: dictionary.pl PREFIX NAME       (reads NAME.index and NAME.dict.dz)
#
# Unfolds the lines and leaves out pronunciations, marks of cross-references and of sources.
use strict;
use warnings;

my $shortest_entry = 120;    # bytes

die "usage: dictionary.pl PREFIX NAME\n" if @ARGV != 2;
my ($prefix, $name) = @ARGV;

my %digit;
@digit{'A' .. 'Z', 'a' .. 'z', '0' .. '9', '+', '/'} = 0 .. 63;

sub number {    # dictd's base 64, the highest digit first
    my $value = 0;
    $value = $value * 64 + ($digit{$_} // die "error: $name.index: '$_' is no digit of a number\n") for split //, $_[0];
    return $value;
}

# Each paragraph in one line, and so each numbered sense.
sub unfolded {
    my ($entry) = @_;
    my @paragraphs;
    my $starts = 1;
    for my $line (split /\n/, $entry) {
        my ($indent, $text) = $line =~ /^(\s*)(.*?)\s*$/;
        if ($text eq '') { $starts = 1; next }
        $starts ||= $indent eq '' || $text =~ /^(?:\d+[.:]|(?:n|v|adj|adv) (?:\d+)?:|\([a-z]\) |Syn:|Note:)/;
        if   ($starts) { push @paragraphs, $text }
        else           { $paragraphs[-1] .= " $text" }
        $starts = 0;
    }
    return @paragraphs;
}

sub cleaned {
    my ($text) = @_;
    $text =~ s/\\[^\\\s][^\\]*\\,?//g;                                        # how a headword is pronounced
    $text =~ s/\[(?:1913 Webster|Webster[^\]]*|WordNet[^\]]*|PJC|GG|RH|AS|[A-Z]{2,4})(?:\s*\+\s*\w+)?\]//g;
    $text =~ s/\[(?:syn|ant|also): [^\]]*\]//g;
    $text =~ tr/{}//d;
    $text =~ s/\s+/ /g;
    $text =~ s/ (?=[,.;:])//g;
    $text =~ s/^ | $//g;
    return $text;
}

open my $data, '-|', 'gzip', '-dcS', '.dz', "$name.dict.dz" or die "error: $name.dict.dz: $!\n";
my $dictionary = do { local $/; <$data> };
close $data or die "error: cannot unpack $name.dict.dz\n";

open my $index, '<', "$name.index" or die "error: $name.index: $!\n";
my %is_seen;
while (<$index>) {
    chomp;
    my ($headword, $offset, $length) = split /\t/;
    next if $headword =~ /^00/ || $is_seen{$offset}++;    # about the dictionary; another name of the same entry
    my $entry = substr $dictionary, number($offset), number($length);
    utf8::decode(my $copy = $entry) or next;
    my @paragraphs = grep { /\w/ } map { cleaned($_) } unfolded($entry);
    my $document = join "\n", @paragraphs;
    next if @paragraphs < 2 || length $document < $shortest_entry;
    $document =~ s/\\/\\\\/g;
    $document =~ s/\n/\\n/g;
    $headword =~ tr/ /_/;
    print "\t$prefix/$headword\t$document\n";
}
