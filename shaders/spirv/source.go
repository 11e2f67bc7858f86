package spirv

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Blob is one compiled shader as the manifest lists it.
type Blob struct {
	Name     string
	Source   string         // file it was made from
	Defines  map[string]int // of the variant; one without a value is 1
	Hash     string         // see [Hash]
	Compiler string
	Needs    []string `json:",omitempty"` // GLSL extensions that not every compiler knows
	Reflection
}

// Variants reads the lines
//
//	//variant NAME DEFINE=1 DEFINE ...
//
// of a source file: one blob each. A file without any makes one blob of its own name.
//
// A line
//
//	//needs EXTENSION ...
//
// names GLSL extensions that older compilers do not know.
func Variants(path string) ([]Blob, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var blobs []Blob
	var needs []string
	lines := bufio.NewScanner(bytes.NewReader(src))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "//needs "); ok {
			needs = append(needs, strings.Fields(rest)...)
		}
		rest, ok := strings.CutPrefix(lines.Text(), "//variant ")
		if !ok {
			continue
		}
		words := strings.Fields(rest)
		b := Blob{Name: words[0], Source: filepath.Base(path), Defines: map[string]int{}}
		for _, w := range words[1:] {
			name, value, ok := strings.Cut(w, "=")
			n := 1
			if ok {
				if _, err := fmt.Sscan(value, &n); err != nil {
					return nil, fmt.Errorf("%s: variant %s: define %s is not a number", path, b.Name, w)
				}
			}
			b.Defines[name] = n
		}
		blobs = append(blobs, b)
	}
	if len(blobs) == 0 {
		name := strings.TrimSuffix(filepath.Base(path), ".comp")
		blobs = []Blob{{Name: name, Source: filepath.Base(path), Defines: map[string]int{}}}
	}
	for i := range blobs {
		blobs[i].Needs = needs
	}
	return blobs, lines.Err()
}

// Hash is a digest of what a blob is made from: its source with all includes,
// its defines and the recipe (the compiler's and the optimiser's arguments).
func Hash(dir string, b Blob, recipe string) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%v\n", recipe, b.Defines) // fmt prints maps sorted by key
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		if seen[name] {
			return nil
		}
		seen[name] = true
		src, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", name, len(src))
		// The list of variants is no part of one of them.
		for line := range strings.Lines(string(src)) {
			if !strings.HasPrefix(line, "//variant ") {
				h.Write([]byte(line))
			}
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "#include \""); ok {
				if err := add(strings.TrimSuffix(rest, "\"")); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := add(b.Source); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
