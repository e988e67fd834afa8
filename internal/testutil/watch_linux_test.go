package testutil

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A process that a trap has ended is started again, and one that has failed is not.
func TestWatchingChild(t *testing.T) {
	const runs = "SLUBD_TEST_RUNS"
	file := os.Getenv(runs)
	if file == "" {
		file = filepath.Join(t.TempDir(), "runs")
	}
	if WatchingChild(t, runs+"="+file) {
		before, _ := os.ReadFile(file)
		if err := os.WriteFile(file, append(before, '.'), 0o600); err != nil {
			t.Fatal(err)
		}
		if len(before) < 2 {
			fmt.Println("SIGTRAP: trace trap") // what the Go runtime prints
			os.Exit(2)
		}
		return
	}
	if got, err := os.ReadFile(file); len(got) != 3 {
		t.Errorf("%d processes were started, want 3: %v", len(got), err)
	}
}
