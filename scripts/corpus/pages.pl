#!/usr/bin/perl
# Turns pages of HTML documentation into documents, one a line: see split.pl for the format.
#
# Usage: pages.pl PREFIX FOLDER FILE ...     (PREFIX: what a page's address begins with; FILE: relative to FOLDER)
#
# Keeps prose: headings, paragraphs and list items. Leaves out navigation, tables, code and pages that are not
# English sentences, told by the share of common words. Needs libhtml-parser-perl.
use strict;
use warnings;
use HTML::Parser;

my $shortest_page = 400;     # bytes
my $common_share  = 0.22;    # of the words; C and HTML have none, other languages few

my %left_out  = map { $_ => 1 } qw(head script style nav header footer aside pre table form button svg math select textarea);
my %is_inline = map { $_ => 1 } qw(a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small
    span strong sub sup tt u var wbr img);
my %is_void   = map { $_ => 1 } qw(area base br col embed hr img input link meta param source track wbr);
my $furniture = qr/(?:^|\s)(?:nav|navbar|navigation|sphinxsidebarwrapper|navheader|navfooter|header|footer|headerlink|sidebar|sphinxsidebar|toc|
    contents|index|breadcrumbs?|related|search|menu|toctree-wrapper|copyright|highlight|synopsis|refsynopsisdiv|
    programlisting|screen|literallayout|titlepage)(?:$|\s)/xi;
my %is_common = map { $_ => 1 } qw(the of and to a in is that for it with as be by on not or are this an at from which can
    will you if have has was all when any may must should use used using but also no one only other than more then its
    there they these been into does do each such so we he his her your their first new same see after before because);

my ($paragraphs, $text, $skipped, $depth);

sub flush_paragraph {
    $text =~ s/[\s\xa0]+/ /g;
    $text =~ s/[\x{b6}\x{f0c1}]//g;                            # marks of links to headings
    $text =~ s/^ | $//g;
    my $letters = () = $text =~ /\p{L}/g;
    push @$paragraphs, $text if $letters * 2 > length $text;    # else a drawing, a number, a line of code
    $text = '';
}

my $parser = HTML::Parser->new(
    api_version => 3,
    start_h     => [
        sub {
            my ($tag, $attributes) = @_;
            return if $tag eq 'html' || $tag eq 'body';
            if (defined $skipped) { $depth++ if $tag eq $skipped; return }
            flush_paragraph() unless $is_inline{$tag};
            my $class = join ' ', map { $attributes->{$_} // () } qw(class id role);
            if (!$is_void{$tag} && ($left_out{$tag} || $class =~ $furniture)) { ($skipped, $depth) = ($tag, 1) }
            $text .= '- ' if $tag eq 'li';
        },
        'tagname, attr'
    ],
    end_h => [
        sub {
            my ($tag) = @_;
            if (defined $skipped) { undef $skipped if $tag eq $skipped && !--$depth; return }
            flush_paragraph() unless $is_inline{$tag};
        },
        'tagname'
    ],
    text_h => [sub { $text .= $_[0] unless defined $skipped }, 'dtext'],
);

sub is_english {
    my @words = map { lc } $_[0] =~ /[\p{L}']+/g;
    return @words && $common_share * @words < grep { $is_common{$_} } @words;
}

die "usage: pages.pl PREFIX FOLDER FILE ...\n" if @ARGV < 3;
my ($prefix, $folder, @files) = @ARGV;
for my $file (@files) {
    open my $handle, '<', "$folder/$file" or die "error: $folder/$file: $!\n";
    my $page = do { local $/; <$handle> };
    utf8::decode($page);    # where it is not UTF-8, it is taken for Latin-1
    ($paragraphs, $text, $skipped) = ([], '', undef);
    $parser->parse($page);
    $parser->eof;
    flush_paragraph();
    my $document = join "\n", @$paragraphs;
    next if length $document < $shortest_page || !is_english($document);
    utf8::encode($document);
    $document =~ s/\\/\\\\/g;
    $document =~ s/\n/\\n/g;
    print "\t$prefix/$file\t$document\n";
}
