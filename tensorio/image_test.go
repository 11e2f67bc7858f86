package tensorio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
)

func TestImageRoundTrip(t *testing.T) {
	for _, channels := range []int{1, 3} {
		m := Image{Shape: conv.Shape{1, channels, 3, 5}}
		for i := range m.Shape.Len() {
			m.Pix = append(m.Pix, float32(i*5)/255)
		}
		path := filepath.Join(t.TempDir(), "a.png")
		if err := WriteImage(path, m); err != nil {
			t.Fatal(err)
		}
		got, err := ReadImage(path)
		if err != nil || got.Shape != m.Shape || !slices.Equal(got.Pix, m.Pix) {
			t.Errorf("wrote %v, read %v, %v", m, got, err)
		}
	}
	m := Image{conv.Shape{1, 1, 1, 4}, []float32{-1, 2, float32(math.NaN()), 0.5}}
	if got := m.Picture().(*image.Gray).Pix; !bytes.Equal(got, []uint8{0, 255, 0, 128}) {
		t.Errorf("clamped to %v", got)
	}
}

func TestImageDepthAndAlpha(t *testing.T) {
	deep := image.NewGray16(image.Rect(5, 5, 6, 6))
	deep.SetGray16(5, 5, color.Gray16{0x1234})
	if m := FromImage(deep); m.Shape != (conv.Shape{1, 1, 1, 1}) || m.Pix[0] != float32(0x1234)/0xffff {
		t.Errorf("16 bits read as %v", m)
	}
	clear := image.NewNRGBA(image.Rect(0, 0, 1, 1))
	if m := FromImage(clear); !slices.Equal(m.Pix, []float32{1, 1, 1}) {
		t.Errorf("transparent read as %v", m.Pix)
	}
}

func TestImageRefusals(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.png")
	os.WriteFile(text, []byte("this is not a picture at all"), 0o666)
	if _, err := ReadImage(text); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), `not a picture (PNG, JPEG, GIF, BMP, TIFF or WebP): it begins with "this is not a pi"`) {
		t.Error(err)
	}
	empty := filepath.Join(dir, "empty.png")
	os.WriteFile(empty, nil, 0o666)
	if _, err := ReadImage(empty); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	if _, err := ReadImage(filepath.Join(dir, "none.png")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := ReadImage(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}

	var b bytes.Buffer
	png.Encode(&b, image.NewGray(image.Rect(0, 0, 50, 50)))
	cut := filepath.Join(dir, "cut.png")
	os.WriteFile(cut, b.Bytes()[:b.Len()/2], 0o666)
	if _, err := ReadImage(cut); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "cut short png picture") {
		t.Error(err)
	}
	huge := slices.Clone(b.Bytes()) // width and height at 16 and 20, their checksum at 29
	huge = huge[:33]
	path := filepath.Join(dir, "huge.png")
	for side, want := range map[byte]string{1: "65536×65536 pixels, must be", 0: "claims 16128×16128 pixels in a file of 33 bytes"} {
		copy(huge[16:], []byte{0, side, 63 - 63*side, 0, 0, side, 63 - 63*side, 0})
		binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
		os.WriteFile(path, huge, 0o666)
		if _, err := ReadImage(path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
	if err := WriteImage(filepath.Join(dir, "a.txt"), Image{conv.Shape{1, 1, 1, 1}, []float32{0}}); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	if err := WriteImage(filepath.Join(dir, "a.png"), Image{conv.Shape{1, 2, 1, 1}, []float32{0, 0}}); !errors.Is(err, conv.ErrShape) {
		t.Error(err)
	}
}

// The smallest file that a picture truly has is read; one that claims more than it
// can hold is refused before a picture is made room for.
func TestSmallFilesOfLargePictures(t *testing.T) {
	blank := image.NewPaletted(image.Rect(0, 0, 2000, 1500), color.Palette{color.Black, color.White})
	var asPNG, asGIF bytes.Buffer
	png.Encode(&asPNG, blank)
	gif.Encode(&asGIF, blank, nil)
	for _, b := range [][]byte{asPNG.Bytes(), asGIF.Bytes()} {
		if m, err := DecodeImage("blank", bytes.NewReader(b), int64(len(b))); err != nil || m.Shape != (conv.Shape{1, 3, 1500, 2000}) {
			t.Errorf("%d bytes: %v, %v", len(b), m.Shape, err)
		}
		var err error
		head := b[:80]
		if got := convtest.Allocated(func() { _, err = DecodeImage("cut", bytes.NewReader(head), 80) }); got > 1<<20 || !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "claims") {
			t.Errorf("cut to %d bytes it takes %d and is %v", len(head), got, err)
		}
	}
}

func FuzzReadImage(f *testing.F) {
	var b bytes.Buffer
	png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 3, 2)))
	f.Add(b.Bytes())
	f.Add([]byte("GIF89a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Image
		var err error
		const pixel = 8 + 3*4 + 12 // decoded, as floats, and what decoders have besides
		convtest.Bounded(t, data, pixelsPerByte*pixel, blankPixels*pixel, func() { m, err = DecodeImage("fuzz.png", bytes.NewReader(data), int64(len(data))) })
		if err == nil && len(m.Pix) != m.Shape.Len() {
			t.Errorf("%d values for %v", len(m.Pix), m.Shape)
		}
	})
}
