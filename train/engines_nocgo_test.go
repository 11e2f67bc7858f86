//go:build !cgo

package train_test

import "testing"

func devices(*testing.T) []string { return []string{"cpu"} }
