package survey

import (
	"os"
	"os/user"
	"runtime"
)

// Host is this machine, for a program that was built with cgo or without.
func Host(cgo bool) System {
	root := "/"
	if runtime.GOOS == "windows" {
		root = `C:\`
	}
	home, _ := os.UserHomeDir()
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return System{GOOS: runtime.GOOS, GOARCH: runtime.GOARCH, Cgo: cgo, FS: os.DirFS(root), Getenv: os.Getenv, Home: home, User: name, Registry: registry,
		Open: func(path string) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				if p, ok := err.(*os.PathError); ok {
					return p.Err
				}
				return err
			}
			return f.Close()
		}}
}
