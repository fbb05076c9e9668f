# skab-pixels FILE.png RRGGBB...: how many pixels of each colour the picture
# has, one count a line.  Reads what browsers write: 8 bits, RGB or RGBA, not
# interlaced.
use strict;
use warnings;
use Compress::Zlib;

my ($file, @colours) = @ARGV;
open my $in, '<:raw', $file or die "$file: $!\n";
local $/;
my $png = <$in>;
substr($png, 0, 8) eq "\x89PNG\r\n\x1a\n" or die "$file is no PNG\n";

my ($at, $width, $height, $bytes, $data) = (8, 0, 0, 0, '');
while ($at < length $png) {
    my ($size, $type) = unpack 'N a4', substr $png, $at, 8;
    my $body = substr $png, $at + 8, $size;
    if ($type eq 'IHDR') {
        my ($depth, $colour, $how);
        ($width, $height, $depth, $colour, undef, undef, $how) =
            unpack 'N N C5', $body;
        $bytes = { 2 => 3, 6 => 4 }->{$colour} or die "colour type $colour\n";
        die "depth $depth, interlace $how\n" if $depth != 8 || $how;
    }
    $data .= $body if $type eq 'IDAT';
    $at += $size + 12;
}
my $raw = uncompress($data) or die "$file cannot be unpacked\n";

my $row = $width * $bytes;
my @above = (0) x $row;
my %count;
for my $y (0 .. $height - 1) {
    my ($filter, @line) = unpack 'C*', substr $raw, $y * ($row + 1), $row + 1;
    for my $i (0 .. $row - 1) {
        my $left = $i < $bytes ? 0 : $line[$i - $bytes];
        my $up = $above[$i];
        if ($filter == 1) { $line[$i] = $line[$i] + $left & 255 }
        elsif ($filter == 2) { $line[$i] = $line[$i] + $up & 255 }
        elsif ($filter == 3) { $line[$i] = $line[$i] + ($left + $up >> 1) & 255 }
        elsif ($filter == 4) {
            my $corner = $i < $bytes ? 0 : $above[$i - $bytes];
            my ($a, $b, $c) = map { abs } $up - $corner, $left - $corner,
                $left + $up - 2 * $corner;
            my $nearest = $a <= $b && $a <= $c ? $left : $b <= $c ? $up : $corner;
            $line[$i] = $line[$i] + $nearest & 255;
        }
    }
    for (my $x = 0; $x < $row; $x += $bytes) {
        $count{$line[$x] << 16 | $line[$x + 1] << 8 | $line[$x + 2]}++;
    }
    @above = @line;
}
print $count{hex $_} // 0, "\n" for @colours;
