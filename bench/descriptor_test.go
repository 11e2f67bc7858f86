package bench

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vkconv/conv"
)

// Descriptors from oneDNN's documentation and shape files, with what they stand for.
func TestParseDescriptor(t *testing.T) {
	for _, c := range []struct {
		text          string
		x, w          conv.Shape
		y             conv.Shape
		dilation, pad int
		name          string
	}{
		{`ic3ih227iw227_oc96oh55ow55_kh11kw11_sh4sw4ph0pw0_n"alexnet:conv1"`, conv.Shape{2, 3, 227, 227}, conv.Shape{96, 3, 11, 11}, conv.Shape{2, 96, 55, 55}, 1, 0, "alexnet:conv1"},
		{`g1mb2ic256ih33oc256kh3ph12dh11`, conv.Shape{2, 256, 33, 33}, conv.Shape{256, 256, 3, 3}, conv.Shape{2, 256, 33, 33}, 12, 12, "g1mb2ic256ih33oc256kh3ph12dh11"},
		{`mb1_ic64oc64_ih56oh56kh3_n"resnet"`, conv.Shape{1, 64, 56, 56}, conv.Shape{64, 64, 3, 3}, conv.Shape{1, 64, 56, 56}, 1, 1, "resnet"}, // padding from oh
		{`g32ic32ih112oc32oh112kh3sh1dh0ph1nmobile`, conv.Shape{2, 32, 112, 112}, conv.Shape{32, 1, 3, 3}, conv.Shape{2, 32, 112, 112}, 1, 1, "mobile"},
		{`ic8iw20oc8kw5pw2`, conv.Shape{2, 8, 1, 20}, conv.Shape{8, 8, 1, 5}, conv.Shape{2, 8, 1, 20}, 1, -1, "ic8iw20oc8kw5pw2"},
	} {
		got, err := ParseDescriptor(c.text)
		if err != nil {
			t.Error(err)
			continue
		}
		p, err := got.Problems()
		if err != nil {
			t.Error(err)
			continue
		}
		if got.Input != c.x || p[0].Weight() != c.w || p[0].Output() != c.y || p[0].DilationX != c.dilation || c.pad >= 0 && p[0].Pad != conv.Pad(c.pad) || got.Name != c.name {
			t.Errorf("%s is %q, %+v", c.text, got.Name, p[0])
		}
		again, err := ParseDescriptor(got.Descriptor())
		if err != nil {
			t.Errorf("%s writes %s: %v", c.text, got.Descriptor(), err)
			continue
		}
		if q, _ := again.Problems(); len(q) != 1 || q[0] != p[0] {
			t.Errorf("%s writes %s, which is %+v", c.text, got.Descriptor(), q)
		}
	}
}

// oneDNN's padding behind the image follows from the output's size.
func TestDescriptorLopsided(t *testing.T) {
	c, err := ParseDescriptor("mb1ic3ih224oc32oh112kh3sh2ph0") // MobileNet as TensorFlow pads it
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Problems()
	if err != nil || p[0].Pad != (conv.Padding{Bottom: 1, Right: 1}) || p[0].Ho != 112 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestDescriptorRefusals(t *testing.T) {
	for text, says := range map[string]string{
		"":                          "ic is 0 or missing",
		"ic3ih8oc4":                 "kh is 0 or missing",
		"ic3ih8oc4kh3q7":            `"q7" is no entry`,
		"ic3ih8oc4kh3kc2":           `"kc2" is no entry`,
		"ic3ih8oc4kh3ic3":           "ic is there twice",
		"ic3id8ih8oc4kh3":           "no 3-D convolution",
		"g2ic3ih8oc4kh3":            "3 channels, not divisible by 2 groups",
		"ic3ih8oc4kh3oh20":          "", // 7 pixels of padding make it
		"ic3ih8oc4kh3oh20ph1":       "",
		"ic3ih8oc4kh3oh2ph5":        "oh is 2, which no padding behind ph 5 makes of ih 8",
		"ic3ih8oc4kh9":              "reaches over 9×9 pixels",
		"ic3ih8oc4kh3sh0":           "sh 0",
		"ic3ih8oc4kh3ph-1":          "ph is -1",
		"ic99999999999999999999ih3": "must be at most",
	} {
		_, err := ParseDescriptor(text)
		if says == "" {
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
		if !errors.Is(err, conv.ErrParams) && !errors.Is(err, conv.ErrShape) && !errors.Is(err, conv.ErrUnsupported) {
			t.Errorf("%q: %v is of no kind", text, err)
		}
	}
}

func TestReadBatch(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("more.txt", "mb3ic4ih5oc6kh3")
	path := write("layers.txt", "# two layers\nic3ih8oc4kh3n\"a\" --dir=BWD_WB --mb=7 ic3ih8oc4kh3n\"b\"\n--deform=v2 --og=3\nic3ih8oc4kh3n\"c\" # deformable\n--reset --batch=more.txt --dt=f32\n")
	cases, err := ReadBatch(path, DefaultKnobs)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cases {
		p, err := c.Problems()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join([]string{c.Set, c.Name, c.Kind(), c.Pass(), p[0].Input().String()}, " "))
		if c.Name == "c" && p[0].OffsetGroups != 3 {
			t.Errorf("%d offset groups", p[0].OffsetGroups)
		}
		if p[0].Bias != (c.Pass() != "x" && (c.Name == "a" || c.Name == "b" || c.Name == "c" || c.Set == "more.txt")) {
			t.Errorf("%s: bias %t", c.Name, p[0].Bias)
		}
	}
	want := []string{"layers.txt a conv forward 2×3×8×8", "layers.txt b conv dweight+dbias 7×3×8×8", "layers.txt c deform v2 dweight+dbias 7×3×8×8", "more.txt mb3ic4ih5oc6kh3 conv forward 3×4×5×5"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for text, says := range map[string]string{
		"--dir=SIDEWAYS": "must be one of BWD_D,", "--attr-post-ops=relu": "--attr-post-ops is not known here", "--cfg=u8s8u8": "only f32", "--og=2": "without --deform",
		"--deform=v9": "must be v1, v2 or none", "--mb=x": "--mb is \"x\"", "ic3": "oc is 0 or missing", "--batch=loop.txt": "includes itself", "--batch=none.txt": "none.txt",
	} {
		path := write("loop.txt", "\n"+text)
		if _, err := ReadBatch(path, DefaultKnobs); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}

// Files that include the next one twice, each: 2²⁰ readings of the last.
func TestBatchesThatDouble(t *testing.T) {
	dir := t.TempDir()
	name := func(i int) string { return filepath.Join(dir, string(rune('a'+i))) }
	for i := range 20 {
		if err := os.WriteFile(name(i), []byte("--batch="+name(i+1)+"\n--batch="+name(i+1)+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for what, last := range map[string]string{"files": "", "descriptors": strings.Repeat("ic4ih5oc4kh3\n", maxCases+1), "bytes": strings.Repeat("1", 100_000)} {
		if err := os.WriteFile(name(20), []byte(last), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadBatch(name(0), DefaultKnobs); !errors.Is(err, conv.ErrParams) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
