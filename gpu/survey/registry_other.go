//go:build !windows

package survey

// registry is empty: only Windows has one.
func registry(string) []string { return nil }
