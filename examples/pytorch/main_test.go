package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// numbers hides what differs from machine to machine: threads, instruction sets,
// errors and sizes.
var numbers = regexp.MustCompile(`pure Go, \w+|-?\d[\d.]*(e-\d+)?`)

// blocks are the fenced blocks of the tutorial: what stands behind the fence, and the text.
var blocks = regexp.MustCompile("(?s)\n```(\\w*)\n(.*?)```")

// Every command of the tutorial prints what it says, and the listings are the files'.
func TestTutorial(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	// Two blocks may follow each other closely: the second fence's newline is the first's last.
	found := blocks.FindAllStringSubmatch(strings.ReplaceAll(string(text), "```\n```", "```\n\n```"), -1)
	commands, listings := 0, 0
	for i, b := range found {
		switch kind, body := b[1], b[2]; kind {
		case "python":
			listings++
			if file, err := os.ReadFile("export.py"); err != nil || string(file) != body {
				t.Errorf("the listing of export.py is not the file, %v", err)
			}
		case "go":
			file, err := os.ReadFile("main.go")
			if err != nil {
				t.Fatal(err)
			}
			indented := strings.ReplaceAll("\t"+strings.ReplaceAll(strings.TrimRight(body, "\n"), "\n", "\n\t"), "\n\t\n", "\n\n")
			if strings.Contains(string(file), indented) {
				listings++
			} else if strings.Contains(body, "engine.New") {
				t.Errorf("the listing of main.go is not in the file:\n%s", indented)
			}
		case "sh":
			commands++
			if i+1 == len(found) || found[i+1][1] != "" {
				t.Fatalf("%s is followed by no output", body)
			}
			args := strings.Fields(body)
			c := exec.Command(args[0], args[1:]...)
			c.Dir, c.Env = "../..", append(os.Environ(), "VKCONV_DEVICE=cpu")
			out, err := c.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", strings.TrimSpace(body), err, out)
			}
			if got, want := numbers.ReplaceAllString(string(out), "#"), numbers.ReplaceAllString(found[i+1][2], "#"); got != want {
				t.Errorf("%s printed\n%s\nthe tutorial says\n%s", strings.TrimSpace(body), out, found[i+1][2])
			}
		}
	}
	if commands != 3 || listings != 2 {
		t.Errorf("%d commands and %d listings, must be 3 and 2", commands, listings)
	}
}

// A wrong weight is another answer.
func TestNoticesAWrongWeight(t *testing.T) {
	dir = t.TempDir()
	defer func() { dir = "examples/pytorch" }()
	for _, name := range []string{"weights.safetensors", "answer.safetensors"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "weights.safetensors" {
			data[len(data)-2] ^= 0x10 // in the last weight's exponent
		}
		if err := os.WriteFile(dir+"/"+name, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("VKCONV_DEVICE", "cpu")
	if err := run(); err == nil || !strings.Contains(err.Error(), "more than another order of additions explains") {
		t.Errorf("a wrong weight: %v", err)
	}
}
