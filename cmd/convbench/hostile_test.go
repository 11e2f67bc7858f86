package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// full is a disk that has room for so many bytes more.
type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if len(b) > f.room {
		n := f.room
		f.room = 0
		return n, errors.New("no space left on device")
	}
	f.room -= len(b)
	return len(b), nil
}

// What could not be printed is said, in one line, and is a failure.
func TestOutputThatIsFull(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"devices"}, {"bench", "-set", "list"}, {"bench", "ic3ih8oc4kh3", "-budget", "1ms", "-device", "cpu"},
		{"explain", "3x3 d1"}, {"explain", "3x3 d1", "-json"}, {"check", "-random", "1", "-device", "cpu"}, {"reference"}, {"completion", "bash"}} {
		for _, room := range []int{0, 40} {
			var stderr bytes.Buffer
			status := run(context.Background(), args, strings.NewReader(""), &full{room}, &stderr)
			if said := stderr.String(); status != statusWrong || said != "convbench: no space left on device\n" {
				t.Errorf("%v with room for %d bytes: status %d, %q", args, room, status, said)
			}
		}
	}
}

// A file that cannot be written whole stays what it was, and nothing is left beside it.
func TestSaveIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(path, []byte("before"), 0o666); err != nil {
		t.Fatal(err)
	}
	err := save(path, func(w io.Writer) error {
		w.Write([]byte("half"))
		return errors.New("no space left on device")
	})
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v does not name %s", err, path)
	}
	if b, _ := os.ReadFile(path); string(b) != "before" {
		t.Errorf("the file holds %q", b)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

// What cannot be written to is refused before anything is computed, and hurts nothing.
func TestNowhereToWrite(t *testing.T) {
	files(t)
	for _, name := range []string{"taken.png", "taken.html", "taken.json"} {
		if err := os.Mkdir(name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"apply", "photo.png", "-kernel", "laplacian", "-o", "taken.png"}, {"apply", "photo.png", "-kernel", "laplacian", "-o", "none/a.png"},
		{"show", "photo.png", "-o", "taken.png"}, {"explain", "3x3 d1", "-o", "taken.png"}, {"report", "-run", "3×3", "-o", "taken.html"},
		{"bench", "ic3ih8oc4kh3", "-save", "taken.json"}, {"reference", "-o", "taken.json"}, {"reference", "-o", "none/a"},
	} {
		must(t, statusBadInput, []string{"stderr: convbench: cannot write", args[len(args)-1]}, args...)
	}
	for _, name := range []string{"taken.png", "taken.html", "taken.json"} {
		if left, err := os.ReadDir(name); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v", name, left, err)
		}
	}
}
