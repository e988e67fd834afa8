//go:build !cgo

package machine

const cgo = false
