//go:build !cgo

package gpu

import (
	"errors"
	"testing"
)

func TestNoCgo(t *testing.T) {
	if _, err := Devices(Options{}); !errors.Is(err, ErrNoCgo) {
		t.Errorf("Devices gives %v", err)
	}
	if _, err := Open(Options{}); !errors.Is(err, ErrNoCgo) {
		t.Errorf("Open gives %v", err)
	}
}
