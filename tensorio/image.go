package tensorio

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif" // formats that image.Decode knows
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"

	"vkconv/conv"
)

// Image is a picture as a tensor of one image: 1×C×H×W, planar, row by row, C =
// 1 (grey) or 3 (red, green, blue). Values are the file's own, scaled so that
// black is 0 and white 1; sRGB's curve is not undone.
type Image struct {
	Shape conv.Shape
	Pix   []float32
}

// MaxPixels is the largest picture that is read.
const MaxPixels = 1 << 28

// Decoders allocate a picture as large as its header claims. Deflate gives at
// most 1032 bytes for one, a byte at most 8 pixels: a picture in a smaller file
// than that is a lie. Only a blank page of a fax (TIFF) or a WebP of one colour
// may truly be so small, up to a size that hurts nobody.
const (
	pixelsPerByte = 8 * 1032
	blankPixels   = 1 << 24
)

// ReadImage reads a PNG, JPEG, GIF (its first picture), BMP, TIFF or WebP
// file. A grey file gives one channel, any other three; what is transparent is
// shown over white. Up to 16 bits a channel are kept.
func ReadImage(path string) (Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return Image{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Image{}, err
	}
	return DecodeImage(path, f, info.Size())
}

// DecodeImage is [ReadImage] for a file of size bytes that is open, or in
// memory, already; path is what its errors call it.
func DecodeImage(path string, f io.ReadSeeker, size int64) (Image, error) {
	r := bufio.NewReader(f)
	start, err := r.Peek(16)
	if err != nil && !errors.Is(err, io.EOF) { // a directory, say
		return Image{}, fmt.Errorf("%s: cannot be read: %w", path, cause(err))
	}
	config, format, err := image.DecodeConfig(r)
	if errors.Is(err, image.ErrFormat) {
		return Image{}, refuse(ErrFormat, "%s: not a picture (PNG, JPEG, GIF, BMP, TIFF or WebP): it begins with %q", path, start)
	}
	if err != nil {
		return Image{}, refuse(ErrFormat, "%s: damaged %s picture: %v", path, format, err)
	}
	if config.Width < 1 || config.Height < 1 || config.Width > MaxPixels/config.Height {
		return Image{}, refuse(ErrFormat, "%s: %d×%d pixels, must be between 1 and %d in all", path, config.Width, config.Height, MaxPixels)
	}
	blank := format == "tiff" || format == "webp"
	if pixels := int64(config.Width) * int64(config.Height); pixels/pixelsPerByte > size && !(blank && pixels <= blankPixels) {
		return Image{}, refuse(ErrFormat, "%s: claims %d×%d pixels in a file of %d bytes", path, config.Width, config.Height, size)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Image{}, fmt.Errorf("%s: cannot be read: %w", path, cause(err))
	}
	picture, format, err := image.Decode(bufio.NewReader(f))
	if err != nil {
		return Image{}, refuse(ErrFormat, "%s: damaged or cut short %s picture: %v", path, format, err)
	}
	return FromImage(picture), nil
}

// FromImage converts a picture as [ReadImage] does.
func FromImage(picture image.Image) Image {
	b := picture.Bounds()
	h, w := b.Dy(), b.Dx()
	channels := 3
	switch picture.ColorModel() {
	case color.GrayModel, color.Gray16Model:
		channels = 1
	}
	out := Image{Shape: conv.Shape{1, channels, h, w}, Pix: make([]float32, channels*h*w)}
	for y := range h {
		for x := range w {
			r, g, bl, a := picture.At(b.Min.X+x, b.Min.Y+y).RGBA() // multiplied by a
			white := 0xffff - a
			rgb := [3]uint32{r + white, g + white, bl + white}
			for c := range channels {
				out.Pix[(c*h+y)*w+x] = float32(rgb[c]) / 0xffff
			}
		}
	}
	return out
}

// Picture converts a tensor to 8 bits a channel, values below 0 and NaN to
// black, above 1 to white.
func (m Image) Picture() image.Image {
	c, h, w := m.Shape[1], m.Shape[2], m.Shape[3]
	at := func(ch, y, x int) uint8 {
		v := m.Pix[(ch*h+y)*w+x]
		if !(v > 0) {
			return 0
		}
		return uint8(min(v, 1)*255 + 0.5)
	}
	if c == 1 {
		out := image.NewGray(image.Rect(0, 0, w, h))
		for y := range h {
			for x := range w {
				out.Pix[y*out.Stride+x] = at(0, y, x)
			}
		}
		return out
	}
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			out.SetNRGBA(x, y, color.NRGBA{at(0, y, x), at(1, y, x), at(2, y, x), 0xff})
		}
	}
	return out
}

// ImageWritable reports whether [WriteImage] knows the format of this name.
func ImageWritable(path string) error {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".png", ".jpg", ".jpeg":
		return nil
	}
	return refuse(ErrFormat, "cannot write %s: the name must end in .png or .jpg", path)
}

// WriteImage writes a picture of 1 or 3 channels, as PNG or JPEG by the name's
// ending, whole or not at all.
func WriteImage(path string, m Image) error {
	if err := ImageWritable(path); err != nil {
		return err
	}
	if s := m.Shape; s[0] != 1 || s[1] != 1 && s[1] != 3 || s[2] < 1 || s[3] < 1 || len(m.Pix) != s.Len() {
		return refuse(conv.ErrShape, "cannot write %s: the picture is %v, must be 1×1×H×W or 1×3×H×W", path, s)
	}
	return WriteFile(path, func(w io.Writer) error {
		if strings.ToLower(filepath.Ext(path)) == ".png" {
			return png.Encode(w, m.Picture())
		}
		return jpeg.Encode(w, m.Picture(), &jpeg.Options{Quality: 95})
	})
}
