//go:build 386 || arm || mips || mipsle

package sys

// On these systems internal/mem fails to compile with a sentence that says why. The import keeps
// errors of this package out of its way.
import _ "github.com/slubd/slubd/internal/mem"
