package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// torch runs the script beside this file over all layers and adds its medians.
func torch(python, shapes, only string, backward bool, threads int, seconds float64, to run) (about string, err error) {
	args := append(strings.Fields(python), filepath.Join(filepath.Dir(shapes), "torch_cpu.py"), shapes,
		"--threads", strconv.Itoa(threads), "--seconds", fmt.Sprint(seconds), "--only", only)
	if backward {
		args = append(args, "--backward")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		var v struct {
			Name        string
			Median      float64 `json:"median_ms"`
			Torch       string
			Torchvision string
			BLAS        string
			CPU         string
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return "", fmt.Errorf("torch_cpu.py printed %q: %w", lines.Text(), err)
		}
		if v.Name == "" {
			about = fmt.Sprintf("PyTorch %s, torchvision %s, %s; %s", v.Torch, v.Torchvision, v.BLAS, v.CPU)
			continue
		}
		to[v.Name] = append(to[v.Name], v.Median)
	}
	return about, lines.Err()
}
