//go:build !unix

package main

import "time"

// processorTime is the time that all threads of the process have spent on
// processors, 0 where it is not known.
func processorTime() time.Duration { return 0 }
