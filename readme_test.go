package vkconv_test

import (
	"os"
	"strings"
	"testing"
)

// The program in the README is the one in examples/, which compiles.
func TestReadmeExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("examples/dilated/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), string(program)) {
		t.Error("README.md does not hold examples/dilated/main.go as it is")
	}
}
