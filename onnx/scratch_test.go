package onnx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
)

func TestScratch(t *testing.T) {
	e, err := vkconv.Open(vkconv.Options{Device: os.Getenv("DEV")})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	dirs, _ := filepath.Glob(os.Getenv("CASES"))
	pass, skip := 0, 0
	for _, d := range dirs {
		r, err := RunCase(context.Background(), e, d)
		switch {
		case err == nil:
			pass++
			fmt.Printf("PASS %s %+v\n", filepath.Base(d), r)
		case errors.Is(err, conv.ErrUnsupported):
			skip++
			fmt.Printf("SKIP %s %s\n", filepath.Base(d), strings.TrimPrefix(err.Error(), d))
		default:
			fmt.Printf("FAIL %s %s %+v\n", filepath.Base(d), strings.TrimPrefix(err.Error(), d), r)
		}
	}
	fmt.Println(pass, skip, len(dirs)-pass-skip)
}
