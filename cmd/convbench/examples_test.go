package main

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vkconv/tensorio"
)

// less is what makes long examples short, behind their own arguments; a flag that
// is there twice has the latter value.
var less = map[string][]string{
	"convbench":                           {"-run", "stacked 3×3$", "-budget", "1ms"},
	"convbench -device cpu":               {"-run", "stacked 3×3$", "-budget", "1ms"},
	"convbench -run":                      {"-run", "rate 18", "-budget", "1ms"},
	"convbench check convtest":            {"-forward", "-device", "cpu"},
	"convbench check -random":             {"-random", "4"},
	"convbench bench -set resnet50":       {"-match", "conv5 reduce g|project", "-budget", "1ms"},
	"convbench bench -set dcnv2":          {"-match", "conv5 g", "-budget", "1ms"},
	"convbench bench -set mobilenet":      {"-match", "dw 1024", "-budget", "1ms"},
	"convbench bench -set aspp16":         {"-match", "project", "-budget", "1ms"},
	"convbench bench g1mb2ic256ih33oc256": {"-match", "ic64", "-budget", "1ms"},
	"convbench bench":                     {"-budget", "1ms"},
	"convbench explain 3x3 *8":            {"-effective", "1", "-device", "cpu"},
	"convbench learn -o":                  {"-steps", "24", "-seeds", "1"},
	"convbench learn -steps":              {"-steps", "24"},
	"convbench roofline -device llvmpipe": {"-device", "cpu"}, // the driver is not every build's
	"convbench several":                   {"-run", "stage dilation 2", "-batch", "1", "-budget", "1ms"},
	"convbench several -run":              {"-batch", "2", "-budget", "1ms"},
	"convbench report":                    {"-run", "stacked 3×3$", "-budget", "1ms"},
}

// not are examples that a test cannot run, with the reason.
var not = map[string]string{
	"convbench view":              "needs a window and the build that draws one",
	"convbench learn -images":     "the pictures are not kept",
	"convbench several llvmpipe":  "names drivers that not every machine has",
	"convbench several -batch":    "names two devices, and the machine may have none",
	"convbench onnx deeplab.onnx": "the model is not kept",
	"convbench onnx -test":        "TestONNX runs all of them",
}

// fits finds the longest key that an example begins with.
func fits[T any](m map[string]T, example string) (value T, ok bool) {
	best := ""
	for k, v := range m {
		if (example == k || k != "convbench" && (strings.HasPrefix(example, k+" ") || strings.HasPrefix(example, k) && len(strings.Fields(k)) > 2)) && len(k) > len(best) {
			best, value, ok = k, v, true
		}
	}
	return value, ok
}

var shellWord = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)

// Every example of the help does what it says, on files of the names in it.
func TestExamplesRun(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files(t)
	if err := os.Symlink(filepath.Join(root, "convtest"), "convtest"); err != nil {
		t.Skip(err)
	}
	write := func(name string, content []byte) {
		if err := os.WriteFile(name, content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	photo := func(w, h int) {
		var picture bytes.Buffer
		if err := jpeg.Encode(&picture, image.NewNRGBA(image.Rect(0, 0, w, h)), nil); err != nil {
			t.Fatal(err)
		}
		write("photo.jpg", picture.Bytes())
	}
	one, err := os.ReadFile("cases/counts.npz")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.npz", "b.npz"} {
		write(name, one)
	}
	layer, err := os.ReadFile("maps.npz")
	if err != nil {
		t.Fatal(err)
	}
	write("layer.npz", layer)
	offsets := tensorio.Array{Shape: []int{1, 18, 420, 340}, Data: make([]float32, 18*420*340)}
	if err := tensorio.WriteNPZ("trained.npz", map[string]tensorio.Array{"offset": offsets}); err != nil {
		t.Fatal(err)
	}
	x := tensorio.Array{Shape: []int{3, 3, 10, 10}, Data: make([]float32, 900)}
	if err := tensorio.WriteNPY("input.npy", x); err != nil {
		t.Fatal(err)
	}
	if err := tensorio.WriteNPZ("inputs.npz", map[string]tensorio.Array{"x": x}); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(".", os.DirFS(filepath.Join(root, "onnx/testdata/networks/external"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename("model.onnx", "net.onnx"); err != nil {
		t.Fatal(err)
	}
	for _, c := range commands() {
		photo(48, 32)
		if c.name == "show" { // whose examples name pixels
			photo(340, 420)
		}
		for line := range strings.Lines(c.examples) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			t.Run(line, func(t *testing.T) {
				if why, ok := fits(not, line); ok {
					t.Skip(why)
				}
				t.Setenv("VKCONV_DEVICE", "cpu")
				want, args := 0, []string{}
				for _, word := range shellWord.FindAllString(line, -1) {
					if name, value, ok := strings.Cut(word, "="); ok && len(args) == 0 {
						if name != "VKCONV_DEVICE" { // which not every machine has
							t.Setenv(name, value)
						}
						continue
					}
					args = append(args, strings.Trim(word, `'"`))
				}
				bare := strings.Join(args, " ")
				if args[0] != "convbench" {
					t.Fatalf("example %q is no call of convbench", line)
				}
				if more, ok := fits(less, bare); ok {
					args = append(args, more...)
				}
				if c.name == "doctor" {
					t.Setenv("VKCONV_DEVICE", "")
					want = -1 // whatever the machine has
				}
				if strings.Contains(line, "-compare old.json") && !strings.Contains(line, "-load") {
					// of what the example before saved
					if err := os.Rename("new.json", "old.json"); err != nil {
						t.Skip("the example that saves was not run")
					}
					want = -1
				}
				if strings.Contains(line, "-load new.json") {
					report, err := os.ReadFile("old.json")
					if err != nil {
						t.Skip("the example that saves was not run")
					}
					write("new.json", report)
				}
				if c.name == "learn" { // each a run of its own, none the last one's rest
					if err := os.RemoveAll("learned"); err != nil {
						t.Fatal(err)
					}
				}
				if strings.Contains(line, "learned/") { // of what learn left, which may come later
					must(t, 0, nil, "learn", "-steps", "24", "-seeds", "1", "-kinds", "deformable")
				}
				var out bytes.Buffer
				status := run(context.Background(), args[1:], strings.NewReader(""), &out, &out)
				if want >= 0 && status != want || status == statusBadInput {
					t.Errorf("status %d, want %d:\n%s", status, want, &out)
				}
			})
		}
	}
}

// The pages are what -h says today.
func TestReferenceIsCurrent(t *testing.T) {
	for name, w := range map[string]func(*strings.Builder){"README.md": func(b *strings.Builder) { writeMarkdown(b) }, "convbench.1": func(b *strings.Builder) { writeMan(b) }} {
		var want strings.Builder
		w(&want)
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want.String() {
			t.Errorf("%s is not what -h says: go generate ./cmd/convbench writes it anew", name)
		}
	}
	for _, c := range shown() {
		if c.short == "" && c.name != "" || c.long == "" || c.examples == "" || c.hidden {
			t.Errorf("command %q has no text or no examples", c.name)
		}
		if !strings.Contains(c.examples, strings.TrimSpace("convbench "+c.name)) {
			t.Errorf("no example of %q runs it", c.name)
		}
	}
}

func TestComplete(t *testing.T) {
	for _, c := range []struct {
		words string // the last is being written; | between them
		want  string // all of these, with commas between
	}{
		{"", "bench,devices,doctor,check,help"}, {"ben", "=bench"}, {"-r", "=-run"}, {"help|exp", "=explain"},
		{"bench|-set|", "resnet50,dcnv4,main"}, {"bench|-set|resnet50,dcn", "=resnet50,dcnv1|resnet50,dcnv2|resnet50,dcnv4"},
		{"bench|-format|", "=table|csv|json|go"}, {"bench|-save|", "=:files"}, {"bench|-backward|-comp", "=-compare"},
		{"check|", "=:files"}, {"check|-device|c", "=cpu"}, {"devices|", "="}, {"nosuch|", "="}, {"completion|", "=bash|zsh|fish"}, {"bench|-k|", "="},
	} {
		got := complete(strings.Split(c.words, "|"))
		if exact, ok := strings.CutPrefix(c.want, "="); ok {
			if strings.Join(got, "|") != exact {
				t.Errorf("%q completes to %q, want %q", c.words, got, exact)
			}
			continue
		}
		for w := range strings.SplitSeq(c.want, ",") {
			if !strings.Contains("\n"+strings.Join(got, "\n")+"\n", "\n"+w+"\n") {
				t.Errorf("%q completes to %q, without %q", c.words, got, w)
			}
		}
	}
}

// The scripts in their shells, those that are there, with a stand-in for the
// command that shows what it was asked.
func TestCompletionScripts(t *testing.T) {
	dir := t.TempDir()
	stub := "#!/bin/sh\necho asked:$#\nfor last; do :; done\necho \"word:$last\"\n"
	if err := os.WriteFile(filepath.Join(dir, "convbench"), []byte(stub), 0o777); err != nil {
		t.Fatal(err)
	}
	for shell, try := range map[string]string{
		"bash": `COMP_WORDS=(convbench bench -set res); COMP_CWORD=3; _convbench; printf '%s\n' "${COMPREPLY[@]}"`,
		"zsh":  "",
		"fish": `complete -C "convbench bench -set res"`,
	} {
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("no %s here", shell)
			continue
		}
		script := filepath.Join(dir, "script."+shell)
		text := completionScripts[shell] + try + "\n"
		args := []string{script}
		if shell == "zsh" { // completion needs a terminal: only its syntax
			text, args = completionScripts[shell], []string{"-n", script}
		}
		if err := os.WriteFile(script, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
			continue
		}
		// __complete bench -set res: four words. fish shows what fits the word only.
		if shell == "bash" && string(out) != "asked:4\nword:res\n" {
			t.Errorf("%s completed to\n%s", shell, out)
		}
	}
}
