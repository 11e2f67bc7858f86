// Command gen compiles the shaders of the current directory: every variant of
// every *.comp becomes spv/NAME.spv, compiled by glslc, optimised by spirv-opt
// and checked by spirv-val, and manifest.json tells what is in them.
//
// Needs glslc (shaderc) and spirv-tools. Only whoever changes a shader runs it.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	errs := make([]error, len(blobs))
	var wg sync.WaitGroup
	slots := make(chan bool, runtime.NumCPU())
	for i := range blobs {
		wg.Go(func() {
			slots <- true
			defer func() { <-slots }()
			blobs[i].Compiler = compiler
			if err := compile(&blobs[i]); err != nil {
				errs[i] = fmt.Errorf("%s: %w", blobs[i].Name, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := removeStale(blobs); err != nil {
		return err
	}
	out, err := json.MarshalIndent(blobs, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile("manifest.json", append(out, '\n'), 0o644)
}

// compile makes one blob and fills in what was reflected from it.
func compile(b *spirv.Blob) error {
	out := filepath.Join("spv", b.Name+".spv")
	raw := out + ".tmp"
	defer os.Remove(raw)
	args := append([]string{}, spirv.CompileArgs...)
	for name, value := range b.Defines {
		args = append(args, fmt.Sprintf("-D%s=%d", name, value))
	}
	if err := tool("glslc", append(args, b.Source, "-o", raw)...); err != nil {
		return err
	}
	args = append([]string{}, spirv.OptimizeArgs...)
	if err := tool("spirv-opt", append(args, raw, "-o", out)...); err != nil {
		return err
	}
	if err := tool("spirv-val", "--target-env", "vulkan1.1", out); err != nil {
		return err
	}
	code, err := os.ReadFile(out)
	if err != nil {
		return err
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
	if b.Reflection, err = spirv.Reflect(code); err != nil {
		return err
	}
	b.Hash, err = spirv.Hash(".", *b, spirv.Recipe())
	return err
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
