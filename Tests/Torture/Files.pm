package Files;
# Files and folders, with the modules that perl-base has.
use strict;
use warnings;
use File::Path ();

sub contents {
    my ($path) = @_;
    open my $file, '<:raw', $path or return '';
    local $/;
    return scalar(<$file>) // '';
}

sub write {
    my ($path, $bytes) = @_;
    open my $file, '>:raw', $path or die "cannot write $path: $!\n";
    print $file $bytes or die "cannot write $path: $!\n";
    close $file or die "cannot write $path: $!\n";
}

# The names in a folder, sorted.
sub names {
    my ($folder) = @_;
    opendir my $handle, $folder or return ();
    return sort grep { $_ ne '.' && $_ ne '..' } readdir $handle;
}

sub copy {
    my ($from, $to) = @_;
    if (-l $from) {
        symlink readlink $from, $to or die "cannot link $to: $!\n";
    } elsif (-d $from) {
        mkdir $to or die "cannot make $to: $!\n";
        copy("$from/$_", "$to/$_") for names($from);
    } else {
        Files::write($to, contents($from));
    }
}

sub remove { File::Path::remove_tree($_[0], { error => \my $ignored }) }

# All files below a folder whose names say that they are not complete.
sub leftovers {
    my ($folder) = @_;
    return map {
        my $path = "$folder/$_";
        /^\..*\.(tmp|replaced)-/ ? $path : -d $path && !-l $path ? leftovers($path) : ()
    } names($folder);
}

# A checksum as in a checkpoint's manifest.
my @table = map { my $c = $_; $c = $c & 1 ? 0xedb88320 ^ ($c >> 1) : $c >> 1 for 1 .. 8; $c } 0 .. 255;

sub crc32 {
    my $crc = 0xffffffff;
    $crc = $table[($crc ^ $_) & 255] ^ ($crc >> 8) for unpack 'C*', $_[0];
    return $crc ^ 0xffffffff;
}

1;
