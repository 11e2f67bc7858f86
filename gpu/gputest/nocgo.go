//go:build !cgo

package gputest
