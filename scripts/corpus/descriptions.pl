#!/usr/bin/perl
# Turns the package archive's descriptions (standard input) into documents, one a line: see split.pl for the format.
#
# Usage: descriptions.pl < stanzas
#
# A stanza "Pages: URL" names the web address under which the packages after it have their pages.
# Needs nothing beyond perl-base.
use strict;
use warnings;

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

my (%is_seen, $count);
my $pages = '';
{
    local $/ = '';
    while (my $stanza = <STDIN>) {
        if ($stanza =~ /^Pages: (\S+)/) { $pages = $1; next }
        my ($package) = $stanza =~ /^Package: (\S+)$/m or next;
        my ($title, $body) = $stanza =~ /^Description-en: (.*)\n((?:[ \t].*\n?)*)/m or next;
        next if $is_seen{$package}++ || !utf8::decode(my $copy = $stanza);    # not UTF-8
        # Less than half letters: tables, drawings.
        my $text = join "\n", $title, grep { (tr/a-zA-Z//) * 2 >= length } paragraphs(split /\n/, $body);
        $text =~ s/\\/\\\\/g;
        $text =~ s/\n/\\n/g;
        print "$package\t$pages/$package\t$text\n";
        $count++;
    }
}
die "error: no package descriptions on standard input\n" if !$count;
