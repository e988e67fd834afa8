package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// The mistake that leaky makes in update: each SET keeps a KiB that nothing frees.
const (
	leakyFile = "store_slubd.go"
	leakyLine = "	for tries := emptyTries; ; {\n"
	leak      = "		_, _ = s.entries.Memory().Malloc(1024) // planted: nothing frees it\n"
)

// leaky builds kvd with a leak of a KiB for each SET, and returns the line of the leak.
func leaky(t *testing.T, exe string) (line int) {
	t.Helper()
	source, err := os.ReadFile(leakyFile)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(source), leakyLine)
	if !found {
		t.Fatalf("%s has no line %q", leakyFile, leakyLine)
	}
	changed, overlay := filepath.Join(t.TempDir(), leakyFile), filepath.Join(t.TempDir(), "overlay.json")
	path, err := filepath.Abs(leakyFile)
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{changed: before + leakyLine + leak + after, overlay: string(replace)} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return strings.Count(before+leakyLine, "\n") + 1
}

// A server with its default settings keeps 50 MB that nothing frees. go tool pprof shows them at
// their line, from the address that has the metrics, and nearly nothing at the line that stores the
// values: these are replaced again and again. When the server closes it names the same line.
func TestLeakShowsAtItsLine(t *testing.T) {
	testutil.Need(t, "go", "golang-go")
	exe := filepath.Join(t.TempDir(), "kvd")
	line := leaky(t, exe)
	server := exec.Command(exe, "-listen", "127.0.0.1:0", "-http", "127.0.0.1:0")
	server.Env = append(os.Environ(), "SLUBD_PROFILE_RATE=", "SLUBD_GUARD=", "SLUBD_HARDENED=", "SLUBD_DEBUG=")
	var complaint bytes.Buffer
	server.Stderr = &complaint
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill() })
	var d daemon
	says, err := bufio.NewReader(stdout).ReadString('\n')
	if _, scanErr := fmt.Sscanf(says, "kvd: serving slubd on %s /metrics and /debug/slubd/ on %s", &d.redis, &d.web); scanErr != nil {
		t.Fatalf("%v: %q", err, says)
	}
	d.redis = strings.TrimSuffix(d.redis, ",")
	p := dial(t, d)
	value := strings.Repeat("v", 1000)
	batch := make([]string, 500)
	for i := range batch {
		batch[i] = fmt.Sprintf("set key%d %s", i%100, value)
	}
	for sent := 0; sent < 50_000_000/1024; sent += len(batch) {
		if err := p.send(batch...); err != nil {
			t.Fatal(err)
		}
		for range batch {
			if r, err := p.reply(); r != "+OK" {
				t.Fatalf("%q, %v", r, err)
			}
		}
	}
	out, err := exec.Command("go", "tool", "pprof", "-top", "-lines", "-unit=mb", "http://"+d.web+"/debug/pprof/slubd").CombinedOutput()
	if err != nil {
		t.Fatalf("go tool pprof: %v\n%s", err, out)
	}
	first := regexp.MustCompile(`cum%\n *([\d.]+)MB +([\d.]+)% .*/kvd/` + leakyFile + `:` + strconv.Itoa(line) + `\b`).FindSubmatch(out)
	if first == nil {
		t.Fatalf("line %d is not the first one:\n%s", line, out)
	}
	mb, _ := strconv.ParseFloat(string(first[1]), 64)
	percent, _ := strconv.ParseFloat(string(first[2]), 64)
	// About 100 samples, each of half a MiB: six standard deviations are 60 %.
	if mb < 20 || mb > 80 || percent < 80 {
		t.Errorf("of 50 MB that leak the profile shows %.1f, %.1f %% of all:\n%s", mb, percent, out)
	}
	_ = p.Close()
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err, where := server.Wait(), fmt.Sprintf("%s:%d)", leakyFile, line); err == nil || !strings.Contains(complaint.String(), where) {
		t.Errorf("at its end the server says %v, %q, want the line of the leak", err, &complaint)
	}
}
