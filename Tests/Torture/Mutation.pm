package Mutation;
# Changes to the bytes of a file such as accidents and malice make.
use strict;
use warnings;

my @numbers = (
    '0', '-1', '1', '1e999', '-1e-999', 'nan', 'inf', '9223372036854775807', '9223372036854775808', '4294967296',
    '18446744073709551616', '2147483648', '65536', '1' x 400, '0x10', '1.5', '1e3', '.', 'null', 'true', '""', '[]', '{}', '',
);
my @pieces = (
    "\0", "\e[31m", "\a", "\xff\xfe", "\xef\xbb\xbf", "\xed\xa0\x80", "\r\n", "\n", "\t", '"', "'", '\\', ',', ':', '{', '}', '[',
    ']', '#', '&a', '*a', '!!binary ', '%', '$(touch x)', '../', '/', '~', '\\u0000', '\\ud800', "\xe2\x80\xae", '<s>', "\xe2\x96\x81",
);
my @integers = map { pack($_->[0], $_->[1]) } (
    ['V', 0], ['V', 1], ['V', 0x7fffffff], ['V', 0x80000000], ['V', 0xffffffff], ['v', 0xffff], ['C', 0xff], ['C', 0x80],
    ['Q<', 1 << 20], ['Q<', 1 << 40], ['Q<', ~0 >> 1], ['Q<', ~0], ['Q<', 100_000_000],
);

sub one { return $_[int rand @_] }

# A place, in half of all cases near the beginning, where headers are.
sub place {
    my ($length) = @_;
    return int rand($length + 1) if rand() < 0.5;
    return int rand(($length < 128 ? $length : 128) + 1);
}

sub span { return int(2**rand(9)) }

my @changes = (
    sub { my $at = place(length($_) - 1); vec($_, 8 * $at + int rand 8, 1) ^= 1 if length },
    sub { my $at = place(length($_) - 1); substr($_, $at, 1) = chr int rand 256 if length },
    sub { substr($_, place(length), span()) = join '', map { chr int rand 256 } 1 .. span() },
    sub { substr($_, int rand(length($_) + 1)) = '' },
    sub { substr($_, place(length), span()) = '' },
    sub { my $part = substr $_, place(length), span(); substr($_, place(length), 0) = $part },
    sub { my $part = substr $_, place(length), span(); substr($_, place(length), length $part) = $part },
    sub { my $at = place(length); my $new = one(@integers); substr($_, $at & ~3, length $new) = $new if length > $at + 8 },
    sub { substr($_, place(length), 0) = one(@pieces) },
    sub { substr($_, place(length), 1) = one(@pieces) },
    # A number, a word, a line.
    sub { change(qr/-?[0-9][0-9.e+-]*/, sub { one(@numbers) }) },
    sub { change(qr/-?[0-9][0-9.e+-]*/, sub { $_[0] . one(0 .. 9) }) },
    sub { change(qr/[A-Za-z_][A-Za-z_0-9.]*/, sub { one(@pieces, @numbers, $_[0] x 2, scalar reverse $_[0]) }) },
    sub { change(qr/"[^"\n]*"/, sub { one('""', "$_[0]$_[0]", '"' . 'x' x 5000 . '"', one(@numbers)) }) },
    sub { change(qr/[^\n]*\n/, sub { one('', $_[0] x 2, substr($_[0], 0, length($_[0]) / 2), "\n", $_[0] x 50) }) },
    # Depth and length.
    sub { substr($_, place(length), 0) = one('[', '{"a":', '- ', '{a: ') x one(100, 5000) if rand() < 0.2 },
    sub { substr($_, place(length), 0) = chr(int rand 256) x one(1000, 70_000) if rand() < 0.2 },
    sub { $_ = one('', "\n", ' ', '{}', '[]', "\0" x 100) if rand() < 0.1 },
);

# Replaces one match of a pattern.
sub change {
    my ($pattern, $by) = @_;
    my @ends;
    while (/$pattern/g) {
        push @ends, [$-[0], $+[0]];
        last if @ends > 3000;
    }
    return unless @ends;
    my ($begin, $end) = @{one(@ends)};
    substr($_, $begin, $end - $begin) = $by->(substr $_, $begin, $end - $begin);
}

# The bytes, changed in one way or up to four.
sub of {
    local $_ = $_[0];
    my $before = $_;
    my $count = one(1, 1, 1, 2, 2, 3, 4);
    for (1 .. 20) {
        one(@changes)->() for 1 .. $count;
        last if $_ ne $before;
    }
    return $_;
}

1;
