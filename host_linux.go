package vkconv

import "golang.org/x/sys/unix"

func systemMemory() int64 {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return 0
	}
	return (int64(i.Totalram) + int64(i.Totalswap)) * int64(i.Unit)
}
