package shaders

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vkconv/shaders/spirv"
)

// TestFold takes the activation's branches out of every module that has one:
// what is left stays valid, reflects the same, and without an activation has
// nothing of it.
func TestFold(t *testing.T) {
	names, err := Names()
	if err != nil {
		t.Fatal(err)
	}
	validator, _ := exec.LookPath("spirv-val")
	invalid := func(m *Module, code []byte) string {
		file := filepath.Join(t.TempDir(), "folded.spv")
		if err := os.WriteFile(file, code, 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(validator, "--target-env", m.Target(), file).CombinedOutput(); err != nil {
			return fmt.Sprintf("%v: %s", err, out)
		}
		return ""
	}
	tried := 0
	for _, name := range names {
		m, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		id, err := m.ConstantID("activation")
		if err != nil {
			continue
		}
		tried++
		// Double precision has no exp: an own one packs powers of 2, as NaN is packed.
		exponential, others := uint32(27), 0
		if strings.HasPrefix(name, "double_") {
			exponential = 59
			code, err := spirv.Fold(m.Code, map[uint32]uint32{id: 0})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			others = instructions(code, extInst, exponential)
		}
		validated := validator != ""
		if validated && m.Needs != nil {
			if why := invalid(m, m.Code); why != "" {
				t.Logf("%s is not validated, this spirv-val does not know what it needs (%v): %s", name, m.Needs, why)
				validated = false
			}
		}
		for kind := range uint32(8) {
			code, err := spirv.Fold(m.Code, map[uint32]uint32{id: kind})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if r, err := spirv.Reflect(code); err != nil || len(r.Bindings) != len(m.Bindings) || r.PushBytes != m.PushBytes {
				t.Errorf("%s with %d: %+v, %v", name, kind, r, err)
			}
			if exp := instructions(code, extInst, exponential) - others; (exp > 0) != (kind == 4 || kind == 5 || kind == 6) {
				t.Errorf("%s with %d calls exp %d times", name, kind, exp)
			}
			if len(code) >= len(m.Code) {
				t.Errorf("%s with %d has %d bytes, before %d", name, kind, len(code), len(m.Code))
			}
			if !validated || kind%4 != 0 {
				continue
			}
			if why := invalid(m, code); why != "" {
				t.Fatalf("%s with %d: %s", name, kind, why)
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d modules have an activation", tried)
	}
	if _, err := spirv.Fold([]byte("text"), nil); err == nil {
		t.Error("text was accepted")
	}
}

const extInst = 12

// instructions counts calls of an instruction of GLSL.std.450.
func instructions(code []byte, op, number uint32) (n int) {
	word := func(i int) uint32 {
		return uint32(code[4*i]) | uint32(code[4*i+1])<<8 | uint32(code[4*i+2])<<16 | uint32(code[4*i+3])<<24
	}
	for at := 5; at < len(code)/4; at += int(word(at) >> 16) {
		if word(at)&0xffff == op && word(at+4) == number {
			n++
		}
	}
	return n
}
