package profile_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/slubd/slubd/slub/profile"
)

// A program writes its allocation profile to a file, as it would write Go's heap profile.
func ExampleWrite() {
	dir, err := os.MkdirTemp("", "profile")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "slubd.pprof"))
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if err := profile.Write(f); err != nil {
		panic(err)
	}
	fmt.Println("go tool pprof -top", filepath.Base(f.Name()))
	// Output: go tool pprof -top slubd.pprof
}
