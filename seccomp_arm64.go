package main

import _ "embed"

// compiledProfile is Docker's profile for the default capabilities, see TestCompiledProfile.
//
//go:embed seccomp_arm64.bpf
var compiledProfile []byte
