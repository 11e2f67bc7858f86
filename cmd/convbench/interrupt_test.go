//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// What waits for ever, here for somebody to write into a pipe, ends at the second interrupt.
func TestSecondInterrupt(t *testing.T) {
	if pipe := os.Getenv("VKCONV_TEST_PIPE"); pipe != "" {
		os.Args = []string{"convbench", "check", pipe}
		main()
	}
	pipe := filepath.Join(t.TempDir(), "case.npz")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c := exec.Command(os.Args[0], "-test.run=^TestSecondInterrupt$")
	c.Env = append(os.Environ(), "VKCONV_TEST_PIPE="+pipe, "VKCONV_DEVICE=cpu")
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for limit := time.After(time.Minute); ; { // until it has come to its second
		select {
		case <-ended:
			if c.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
				t.Errorf("it ended as %v and said %s", c.ProcessState, &said)
			}
			return
		case <-time.After(100 * time.Millisecond):
			c.Process.Signal(os.Interrupt)
		case <-limit:
			c.Process.Kill()
			<-ended
			t.Fatalf("it did not end and said %s", &said)
		}
	}
}
