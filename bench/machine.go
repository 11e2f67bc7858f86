package bench

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// NewReport makes a report of no rows that says where and when it is from.
func NewReport(seed uint64, offsets Offsets) Report {
	return Report{Time: time.Now().UTC().Truncate(time.Second), Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		Code: commit(), CPU: processor(), Cores: runtime.GOMAXPROCS(0), Seed: seed, Offsets: offsets.String()}
}

// commit is what go build noted of the source, "" without.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	return revision + changed
}

// processor is its name where Linux tells it, else "".
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}
