package learn

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"vkconv/conv"
	"vkconv/tensorio"
)

// Set is a data set from files. Pictures are brought to the net's size, grey ones in
// all three channels, and bytes to values up to 1, others that reach beyond 1 by the
// largest; what counts as the object is whatever differs from the picture's edge by
// more than half of the most that anything does.
type Set struct {
	names    []string
	pictures [][]float32 // 3×Size×Size
	masks    [][]bool
	classes  []int
	training int // the first so many are for training, the rest held out
	order    []int
}

// ReadSet reads images and labels from two IDX files (as MNIST's, gzipped or not),
// or both from one .npz with the arrays images, N×H×W or N×H×W×3, and labels. A tenth
// of the pictures, drawn by the seed, is for validation, a tenth for the test. Errors match [conv.ErrShape] or
// [conv.ErrParams] where the files are at fault.
func ReadSet(images, labels string, seed uint64) (*Set, error) {
	var x, y tensorio.Array
	var err error
	if labels == "" {
		var a map[string]tensorio.Array
		if a, err = tensorio.ReadNPZ(images); err == nil {
			x, y = a["images"], a["labels"]
			if x.Data == nil || y.Data == nil {
				err = fmt.Errorf("%w: %s has no arrays images and labels", conv.ErrShape, images)
			}
		}
	} else if x, err = readIDX(images); err == nil {
		y, err = readIDX(labels)
	}
	if err != nil {
		return nil, err
	}
	values, err := x.Float64()
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	classes, err := y.Ints()
	if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	if len(x.Shape) == 3 {
		x.Shape = append(x.Shape, 1)
	}
	if len(x.Shape) != 4 || len(classes) != x.Shape[0] || x.Shape[1] < 2 || x.Shape[2] < 2 || x.Shape[3] != 1 && x.Shape[3] != 3 {
		return nil, fmt.Errorf("%w: images are %v and labels %v, must be N×H×W or N×H×W×3, and N", conv.ErrShape, x.Shape, y.Shape)
	}
	full := 1.0
	if _, bytes := x.Data.([]uint8); bytes {
		full = 255
	}
	return newSet(values, x.Shape, full, classes, seed)
}

// newSet takes pictures whose values reach from 0 to full, or beyond.
func newSet(values []float64, shape []int, full float64, classes []int, seed uint64) (*Set, error) {
	s := &Set{classes: classes, training: len(classes) * 4 / 5}
	if s.training < Batch || len(classes)-s.training < Batch {
		return nil, fmt.Errorf("%w: there are %d pictures, must be at least %d", conv.ErrShape, len(classes), 5*Batch)
	}
	most := 0
	for i, c := range classes {
		if c < 0 || c > 999 {
			return nil, fmt.Errorf("%w: label %d is %d, must be between 0 and 999", conv.ErrShape, i, c)
		}
		most = max(most, c)
	}
	for c := range most + 1 {
		s.names = append(s.names, strconv.Itoa(c))
	}
	for _, v := range values {
		if full = max(full, math.Abs(v)); math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%w: an image holds %g", conv.ErrShape, v)
		}
	}
	each := shape[1] * shape[2] * shape[3]
	for i := range classes {
		p, m := fit(values[i*each:][:each], shape[1], shape[2], shape[3], full)
		s.pictures, s.masks = append(s.pictures, p), append(s.masks, m)
	}
	s.order = rand.New(rand.NewPCG(seed, 0x5e7)).Perm(len(classes))
	return s, nil
}

// fit brings one picture to the net's size, between pixels by bilinear
// interpolation, and finds its object.
func fit(v []float64, h, w, channels int, full float64) ([]float32, []bool) {
	picture, mask, edge := make([]float32, 3*Size*Size), make([]bool, Size*Size), [3]float64{}
	sample := func(c int, y, x float64) float64 {
		y, x = min(max(y, 0), float64(h-1)), min(max(x, 0), float64(w-1))
		y0, x0 := min(int(y), h-2), min(int(x), w-2)
		fy, fx := y-float64(y0), x-float64(x0)
		at := func(y, x int) float64 { return v[(y*w+x)*channels+c] / full }
		return (1-fy)*((1-fx)*at(y0, x0)+fx*at(y0, x0+1)) + fy*((1-fx)*at(y0+1, x0)+fx*at(y0+1, x0+1))
	}
	for c := range 3 {
		for at := range Size * Size {
			y, x := (float64(at/Size)+0.5)*float64(h)/Size-0.5, (float64(at%Size)+0.5)*float64(w)/Size-0.5
			p := sample(min(c, channels-1), y, x)
			picture[c*Size*Size+at] = float32(p)
			if at/Size == 0 || at/Size == Size-1 || at%Size == 0 || at%Size == Size-1 {
				edge[c] += p / (4*Size - 4)
			}
		}
	}
	differs, most := make([]float64, Size*Size), 0.0
	for at := range differs {
		for c := range 3 {
			differs[at] += math.Abs(float64(picture[c*Size*Size+at]) - edge[c])
		}
		most = max(most, differs[at])
	}
	for at, d := range differs {
		mask[at] = d >= most/2
	}
	return picture, mask
}

// Names are the labels.
func (s *Set) Names() []string { return s.names }

// Sample gives picture i of a split, around and around.
func (s *Set) Sample(split uint64, i int, picture []float32, mask []bool) int {
	at := s.order[i%s.training]
	if split != Training { // the others in turns
		held := s.order[s.training:]
		at = held[(2*i+int(split-Validation))%(len(held)/2*2)]
	}
	copy(picture, s.pictures[at])
	copy(mask, s.masks[at])
	return s.classes[at]
}

// readIDX reads a file of bytes in the IDX format of MNIST: two zeros, the type 8,
// the number of extents, those big-endian, and the bytes.
func readIDX(path string) (a tensorio.Array, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return a, err
	}
	if !info.Mode().IsRegular() || info.Size() > most { // of a device there may be no end
		return a, fmt.Errorf("%w: %s must be a regular file of at most %d bytes", conv.ErrShape, path, most)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return a, err
	}
	return parseIDX(path, raw)
}

// most is how many bytes of pictures are read.
const most = 1 << 30

func parseIDX(path string, raw []byte) (a tensorio.Array, err error) {
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err == nil {
			raw, err = io.ReadAll(io.LimitReader(z, most))
		}
		if err != nil {
			return a, fmt.Errorf("%s: %w", path, err)
		}
	}
	if len(raw) < 4 || raw[0] != 0 || raw[1] != 0 || raw[2] != 8 || raw[3] < 1 || raw[3] > 4 || len(raw) < 4+4*int(raw[3]) {
		return a, fmt.Errorf("%w: %s is no IDX file of bytes", conv.ErrShape, path)
	}
	n := 1
	for i := range int(raw[3]) {
		d := int(binary.BigEndian.Uint32(raw[4+4*i:]))
		if a.Shape = append(a.Shape, d); d > most || n > most/max(d, 1) {
			return a, fmt.Errorf("%w: %s has the extents %v, too many", conv.ErrShape, path, a.Shape)
		}
		n *= d
	}
	data := raw[4+4*int(raw[3]):]
	if len(data) != n {
		return a, fmt.Errorf("%w: %s holds %d bytes of data, %v has %d", conv.ErrShape, path, len(data), a.Shape, n)
	}
	a.Data = data
	return a, nil
}
