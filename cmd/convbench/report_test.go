package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// chromium opens a page without a screen and returns its document, as it is
// after loading, and what the console said.
func chromium(t *testing.T, page string, args ...string) (document string, console []string) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("VKCONV_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir(), "--enable-logging=stderr",
		"--virtual-time-budget=5000"}, args...)
	c := exec.CommandContext(ctx, program, append(args, "--dump-dom", "file://"+page)...)
	c.WaitDelay = time.Second
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		t.Fatalf("chromium: %v: %s", err, &said)
	}
	for line := range strings.Lines(said.String()) {
		if strings.Contains(line, "CONSOLE") {
			console = append(console, line)
		}
	}
	return out.String(), console
}

// The report of a real run, in a browser: nothing on its console, every plot
// in its document.
func TestReportInBrowser(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	must(t, 0, []string{"report.html: 23 cases", "0 wrong"}, "report", "-o", "report.html", "-device", "cpu", "-run", "stacked 3×3$", "-budget", "1ms", "-gflops", "500", "-gbs", "50")
	page := filepath.Join(dir, "report.html")
	document, console := chromium(t, page)
	for _, line := range console {
		t.Errorf("console: %s", line)
	}
	for _, id := range []string{"time", "error", "roofline", "share", "dilation", "size"} {
		plot := regexp.MustCompile(fmt.Sprintf(`(?s)<figure id="plot-%s">\s*<svg.*?</svg>`, id)).FindString(document)
		// Words and numbers; the paper and a bar, or dots.
		if strings.Count(plot, "<text") < 5 || strings.Count(plot, "<rect")+strings.Count(plot, "<circle") < 2 {
			t.Errorf("plot %s is not in the document, or empty: %s", id, plot)
		}
	}
	// The same browser does complain, about a picture from elsewhere and about a script.
	html, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	bad := `<img src="http://127.0.0.1:9/a.png"><script>nosuchthing()</script></main>`
	if err := os.WriteFile("bad.html", bytes.Replace(html, []byte("</main>"), []byte(bad), 1), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, console := chromium(t, filepath.Join(dir, "bad.html")); len(console) < 2 {
		t.Errorf("on the console of a bad page is only %q", console)
	}
}

// What goes wrong leaves no file.
func TestReportLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var stdout, stderr bytes.Buffer
	if status := run(ctx, []string{"report", "-o", "report.html", "-device", "cpu"}, strings.NewReader(""), &stdout, &stderr); status != statusWrong {
		t.Errorf("status %d: %s", status, &stderr)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
