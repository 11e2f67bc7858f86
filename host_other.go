//go:build !linux && !darwin

package vkconv

func systemMemory() int64 { return 0 }
