//go:build !(linux && (amd64 || arm64))

package percpu

import (
	"fmt"
	"runtime"

	"github.com/slubd/slubd/internal/sys"
)

// maxCPUs is 0: without sequences no number of the kernel's reaches memory.
const maxCPUs = 0

const optIn = false

func newRseq() (engine, error) {
	return engine{}, fmt.Errorf("no restartable sequences for %s/%s: %w", runtime.GOOS, runtime.GOARCH, sys.ErrUnsupported)
}

func withRegisters(e engine) engine { return e }
