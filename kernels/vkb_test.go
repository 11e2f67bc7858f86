package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"vkconv/convtest"
)

func put(name string, v []float32) {
	b := make([]byte, 4*len(v))
	for i, f := range v {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(f))
	}
	os.WriteFile(name, b, 0o644)
}

func TestVkb(t *testing.T) {
	tr := traits{Software: true, Subgroup: 8, SubgroupOps: true, Groups: [3]int{65535, 65535, 65535}, Invocations: 256, StorageRange: 1 << 27}
	if os.Getenv("SGS") == "4" {
		tr.Subgroup = 4
	}
	used := map[string]int{}
	for _, v := range variants {
		if f := os.Getenv("VAR"); f != "" && !strings.Contains(v.module, f) {
			continue
		}
		worst := 0.0
		for i := 0; i < convtest.Cases(30); i++ {
			c := convtest.Random(convtest.Seed(), i)
			l, why, err := plan(c.Problem, tr, v)
			if err != nil {
				t.Fatal(err)
			}
			if why != "" || c.Problem.N == 0 {
				continue
			}
			used[v.module]++
			dir := t.TempDir()
			w := pack(l, c.Weight, c.Bias)
			off, mask := c.Offset, c.Mask
			if mask == nil {
				mask = []float32{1}
			}
			y := make([]float32, c.Problem.Output().Len()+16)
			for i := range y {
				y[i] = float32(math.NaN())
			}
			sizes := fmt.Sprintf("%d,%d,%d", len(c.X), len(w), len(y))
			put(dir+"/b0", c.X)
			put(dir+"/b1", w)
			put(dir+"/b2", y)
			if c.Problem.Deformable() {
				put(dir+"/b3", off)
				put(dir+"/b4", mask)
				sizes += fmt.Sprintf(",%d,%d", len(off), len(mask))
			}
			push := ""
			for i := 0; i < len(l.push); i += 4 {
				push += fmt.Sprintf("0x%x,", binary.LittleEndian.Uint32(l.push[i:]))
			}
			cmd := exec.Command("/tmp/sb/vkb", "../shaders/spv/"+v.module+".spv", fmt.Sprintf("%d,%d,1", l.groups[0], l.groups[1]),
				fmt.Sprintf("0=%d", v.localSize), push, sizes, "1")
			cmd.Env = append(os.Environ(), "DIR="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatal(string(out), err, cmd.Args)
			}
			b, _ := os.ReadFile(dir + "/out")
			for i := range y {
				y[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
			}
			n := len(y) - 16
			for _, g := range y[n:] {
				if g == g {
					t.Errorf("written outside")
				}
			}
			convtest.One(t, c, func(_ convtest.Case, out, x, weight, bias, offset, mask []float32) error { copy(out, y); return nil })
			if t.Failed() {
				t.Fatal(v.module, c.Name)
			}
		}
		_ = worst
	}
	t.Log(used)
}
