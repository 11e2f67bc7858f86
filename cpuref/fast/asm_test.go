package fast

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestAVX2Registers: registers beyond the sixteenth, and the widest ones, would
// turn AVX2 code into AVX-512, which an AVX2 machine refuses.
func TestAVX2Registers(t *testing.T) {
	var text []byte
	for _, file := range []string{"asm_amd64.s", "asm_grad_amd64.s"} {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	wide := regexp.MustCompile(`\b([XY](1[6-9]|[23]\d)|Z\d+|K[0-7])\b`)
	functions := strings.Split(string(text), "\nTEXT ·")
	if len(functions) < 10 {
		t.Fatalf("the assembly has %d functions", len(functions)-1)
	}
	for _, f := range functions[1:] {
		name, body, _ := strings.Cut(f, "(SB)")
		if found := wide.FindString(body); found != "" && !strings.HasSuffix(name, "AVX512") {
			t.Errorf("%s uses %s", name, found)
		}
	}
}
