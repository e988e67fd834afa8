package loops

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGeneratedLoopsAreCurrent checks that `go generate` would change nothing.
func TestGeneratedLoopsAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "gen.go", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(want) != 11 {
		t.Fatalf("generated %v, %v", want, err)
	}
	for _, path := range want {
		generated, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		if current, err := os.ReadFile(name); err != nil || !bytes.Equal(current, generated) {
			t.Errorf("%s is not what gen.go makes of the templates: run go generate (%v)", name, err)
		}
	}
}
