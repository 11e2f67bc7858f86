// Command gen compiles the shaders of the current directory: every variant of
// every *.comp becomes spv/NAME.spv, compiled by glslc, optimised by spirv-opt
// and checked by spirv-val, and manifest.json tells what is in them.
//
// Needs glslc (shaderc) and spirv-tools. Only whoever changes a shader runs it.
//
// A blob whose source //needs a GLSL extension that this glslc does not know is
// left as it is, and said so, if it is made from today's source; else that is an
// error. With names of sources as arguments (go run ./gen matrix.comp) all blobs
// but theirs stay, unlooked at: for a second compiler that makes those alone.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"

	"vkconv/shaders/spirv"
)

// maxLoopBranches leaves room for the conditional stores of a loop. SwiftShader
// takes time exponential in them: 8 pass unnoticed, 36 never came back.
const maxLoopBranches = 8

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("gen: ", err)
	}
}

func run() error {
	compiler, err := version()
	if err != nil {
		return err
	}
	sources, err := filepath.Glob("*.comp")
	if err != nil {
		return err
	}
	var blobs []spirv.Blob
	for _, s := range sources {
		v, err := spirv.Variants(s)
		if err != nil {
			return err
		}
		blobs = append(blobs, v...)
	}
	sort.Slice(blobs, func(i, j int) bool { return blobs[i].Name < blobs[j].Name })
	if err := os.MkdirAll("spv", 0o755); err != nil {
		return err
	}
	old, err := made()
	if err != nil {
		return err
	}
	unknown := map[string]bool{}
	for _, b := range blobs {
		for _, e := range b.Needs {
			if _, asked := unknown[e]; !asked {
				unknown[e] = !knows(e)
			}
		}
	}
	only := os.Args[1:]
	errs := make([]error, len(blobs))
	var wg sync.WaitGroup
	slots := make(chan bool, runtime.NumCPU())
	for i := range blobs {
		wg.Go(func() {
			slots <- true
			defer func() { <-slots }()
			b := &blobs[i]
			if len(only) > 0 && !slices.Contains(only, b.Source) {
				*b = old[b.Name]
				return
			}
			if lacks := slices.IndexFunc(b.Needs, func(e string) bool { return unknown[e] }); lacks >= 0 {
				errs[i] = keep(b, old[b.Name], b.Needs[lacks])
				return
			}
			b.Compiler = compiler
			if err := compile(b); err != nil {
				errs[i] = fmt.Errorf("%s: %w", blobs[i].Name, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	blobs = slices.DeleteFunc(blobs, func(b spirv.Blob) bool { return b.Name == "" }) // not asked for, and never made
	if err := removeStale(blobs); err != nil {
		return err
	}
	out, err := json.MarshalIndent(blobs, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile("manifest.json", append(out, '\n'), 0o644)
}

// made are the blobs that the manifest of before lists, by name.
func made() (map[string]spirv.Blob, error) {
	text, err := os.ReadFile("manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var blobs []spirv.Blob
	if err := json.Unmarshal(text, &blobs); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	all := map[string]spirv.Blob{}
	for _, b := range blobs {
		all[b.Name] = b
	}
	return all, nil
}

// knows reports whether glslc knows a GLSL extension.
func knows(extension string) bool {
	cmd := exec.Command("glslc", "-fshader-stage=compute", "-", "-o", os.DevNull)
	cmd.Stdin = strings.NewReader("#version 450\n#extension " + extension + " : require\nvoid main() {}\n")
	return cmd.Run() == nil
}

// keep leaves a blob as the manifest of before has it, which it checks to be made
// from today's source.
func keep(b *spirv.Blob, before spirv.Blob, lacks string) error {
	hash, err := spirv.Hash(".", *b, b.Recipe())
	switch {
	case err != nil:
		return err
	case before.Hash != hash:
		return fmt.Errorf("%s: its source changed, and this glslc does not know %s: take a later one", b.Name, lacks)
	}
	*b = before
	code, err := os.ReadFile(filepath.Join("spv", b.Name+".spv"))
	if err != nil {
		return err
	}
	r, err := spirv.Reflect(code)
	if err == nil && !reflect.DeepEqual(r, b.Reflection) {
		err = fmt.Errorf("%s: the manifest does not describe the blob: take a glslc that knows %s", b.Name, lacks)
	}
	if err == nil {
		log.Printf("%s left as it is, made from today's source by %s: this glslc does not know %s", b.Name, strings.TrimRight(b.Compiler, "; "), lacks)
	}
	return err
}

// compile makes one blob and fills in what was reflected from it.
func compile(b *spirv.Blob) error {
	out := filepath.Join("spv", b.Name+".spv")
	raw := out + ".tmp"
	defer os.Remove(raw)
	args := b.CompileArgs()
	for name, value := range b.Defines {
		args = append(args, fmt.Sprintf("-D%s=%d", name, value))
	}
	if err := tool("glslc", append(args, b.Source, "-o", raw)...); err != nil {
		return err
	}
	if err := tool("spirv-opt", append(b.OptimizeArgs(), raw, "-o", out)...); err != nil {
		return err
	}
	if err := tool("spirv-val", "--target-env", b.Target(), out); err != nil {
		return err
	}
	code, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	if b.Reflection, err = spirv.Reflect(code); err != nil {
		return err
	}
	if b.Hash, err = spirv.Hash(".", *b, b.Recipe()); err != nil || b.Needs != nil {
		return err // what follows is for drivers that know no such extensions
	}
	if n, err := spirv.PrivateArrays(code); err != nil {
		return err
	} else if n > 0 {
		return fmt.Errorf("%d arrays stay in private memory: a loop over a register tile was not unrolled", n)
	}
	if n, err := spirv.LoopBranches(code); err != nil {
		return err
	} else if n > maxLoopBranches {
		return fmt.Errorf("%d branches inside loops, at most %d; select with mix() instead", n, maxLoopBranches)
	}
	return nil
}

// removeStale deletes blobs that no source makes any more.
func removeStale(blobs []spirv.Blob) error {
	keep := map[string]bool{}
	for _, b := range blobs {
		keep[b.Name+".spv"] = true
	}
	old, err := filepath.Glob("spv/*")
	if err != nil {
		return err
	}
	for _, f := range old {
		if !keep[filepath.Base(f)] {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func tool(name string, args ...string) error {
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out.String())
	}
	return nil
}

// version is one line about the compiler and the optimiser.
func version() (string, error) {
	var lines []string
	for _, name := range []string{"glslc", "spirv-opt"} {
		out, err := exec.Command(name, "--version").Output()
		if err != nil {
			return "", fmt.Errorf("%s --version: %w", name, err)
		}
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		lines = append(lines, line)
	}
	return strings.Join(lines, "; "), nil
}
