//go:build !unix

package fast

import "time"

var began = time.Now()

func cpuTime() time.Duration { return time.Since(began) }
