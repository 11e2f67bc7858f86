package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vkconv/conv"
)

// Knobs are what stands between descriptors in a batch file and holds for those
// that follow. They are benchdnn's --dir, --mb and --dt, and of our own --deform
// (v1, v2, none) and --og (offset groups).
type Knobs struct {
	Backward bool
	Wanted   []string // gradients, nil for all
	Bias     bool
	Batch    int // 0 leaves each descriptor its own
	Deform   *conv.Deform
}

// DefaultKnobs are benchdnn's: forward with a bias.
var DefaultKnobs = Knobs{Bias: true}

// directions are benchdnn's values of --dir.
var directions = map[string]Knobs{
	"FWD_B":  {Bias: true},
	"FWD_D":  {},
	"FWD_I":  {},
	"BWD_D":  {Backward: true, Wanted: []string{"dx"}},
	"BWD_W":  {Backward: true, Wanted: []string{"dweight"}},
	"BWD_WB": {Backward: true, Bias: true, Wanted: []string{"dweight", "dbias"}},
	"BWD_DW": {Backward: true, Wanted: []string{"dx", "dweight"}},
}

// SetDirection applies a value of --dir.
func (k *Knobs) SetDirection(dir string) error {
	d, ok := directions[strings.ToUpper(dir)]
	if !ok {
		names := []string{}
		for name := range directions {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("%w: direction is %q, must be one of %s", conv.ErrParams, dir, strings.Join(names, ", "))
	}
	k.Backward, k.Wanted, k.Bias = d.Backward, d.Wanted, d.Bias
	return nil
}

// SetDeform applies a value of --deform.
func (k *Knobs) SetDeform(version string) error {
	groups := 1
	if k.Deform != nil {
		groups = k.Deform.OffsetGroups
	}
	switch version {
	case "none":
		k.Deform = nil
	case "v1", "v2":
		k.Deform = &conv.Deform{OffsetGroups: groups, Mask: version == "v2"}
	default:
		return fmt.Errorf("%w: deform is %q, must be v1, v2 or none", conv.ErrParams, version)
	}
	return nil
}

// Apply gives a case the knobs' pass, bias, batch and deformation. Of DCNv4,
// which has none of them, only pass and batch.
func (k Knobs) Apply(c Case) (Case, error) {
	c.Backward = c.Backward || k.Backward
	c.Layers = slices.Clone(c.Layers)
	if k.Batch > 0 {
		c.Input[0] = k.Batch
	}
	for i := range c.Layers {
		l := &c.Layers[i]
		if l.DCN != nil {
			if k.Wanted != nil {
				return c, fmt.Errorf("%w: %s: DCNv4's gradients are measured together, not %s alone", conv.ErrUnsupported, c.Name, strings.Join(k.Wanted, ", "))
			}
			_, err := c.dcn()
			return c, err
		}
		l.Bias = k.Bias
		if k.Deform != nil {
			d := *k.Deform
			l.Deform = &d
		}
		c.Wanted = k.Wanted
	}
	_, err := c.Problems()
	return c, err
}

// ReadBatch reads a batch file as benchdnn has them: a knob or a descriptor a
// line (or several, with spaces), # begins a comment, --reset goes back to
// the knobs that the caller gave and --batch=FILE reads another file, beside
// this one where its name is relative. Lines that ask for what is not here, other
// types for instance, are refused rather than skipped.
func ReadBatch(path string, knobs Knobs) ([]Case, error) {
	left := maxFiles
	return readBatch(path, knobs, nil, &left)
}

// What a batch may come to, since files that include others twice double with each.
const (
	maxFiles = 1000
	maxCases = 100_000
)

// readBatch reads one of the files that are left.
func readBatch(path string, knobs Knobs, above []string, left *int) ([]Case, error) {
	if slices.Contains(above, path) {
		return nil, fmt.Errorf("%w: %s includes itself", conv.ErrParams, path)
	}
	if *left--; *left < 0 {
		return nil, fmt.Errorf("%w: more than %d files are included", conv.ErrParams, maxFiles)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cases, err := parseBatch(f, filepath.Base(path), knobs, func(name string, k Knobs) ([]Case, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		return readBatch(name, k, append(above, path), left)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cases, nil
}

func parseBatch(r io.Reader, group string, knobs Knobs, include func(name string, k Knobs) ([]Case, error)) ([]Case, error) {
	var cases []Case
	first := knobs
	lines := bufio.NewScanner(r)
	n := 1
	for ; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		for _, word := range strings.Fields(text) {
			var more []Case
			var err error
			switch name, value, _ := strings.Cut(word, "="); {
			case name == "--reset":
				knobs = first
			case name == "--batch":
				more, err = include(value, knobs)
			case strings.HasPrefix(word, "--"):
				err = knobs.set(name, value)
			default:
				var c Case
				if c, err = ParseDescriptor(word); err == nil {
					c.Group, c.Set = group, group
					c, err = knobs.Apply(c)
					more = []Case{c}
				}
			}
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			if cases = append(cases, more...); len(cases) > maxCases {
				return nil, fmt.Errorf("line %d: %w: there are more than %d descriptors", n, conv.ErrParams, maxCases)
			}
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, fmt.Errorf("%w: line %d has more than %d bytes", conv.ErrParams, n, bufio.MaxScanTokenSize)
		}
		return nil, err
	}
	return cases, nil
}

// set applies one knob of a batch file.
func (k *Knobs) set(name, value string) error {
	count := func() (int, error) {
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > conv.MaxExtent {
			return 0, fmt.Errorf("%w: %s is %q, must be a number from 0 to %d", conv.ErrParams, name, value, conv.MaxExtent)
		}
		return n, nil
	}
	switch name {
	case "--dir":
		return k.SetDirection(value)
	case "--deform":
		return k.SetDeform(value)
	case "--mb":
		n, err := count()
		k.Batch = n
		return err
	case "--og":
		n, err := count()
		if err == nil && k.Deform == nil {
			return fmt.Errorf("%w: --og without --deform before it", conv.ErrParams)
		}
		if err == nil {
			d := *k.Deform
			d.OffsetGroups = n
			k.Deform = &d
		}
		return err
	case "--cfg", "--dt":
		if value == "f32" {
			return nil
		}
		return fmt.Errorf("%w: %s=%s, only f32 is measured here", conv.ErrUnsupported, name, value)
	}
	return fmt.Errorf("%w: knob %s is not known here; there are --dir, --mb, --dt, --cfg, --deform, --og, --batch and --reset", conv.ErrUnsupported, name)
}
