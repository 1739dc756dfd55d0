// swift-tools-version: 6.1
import PackageDescription

// A package of its own, so that nobody who builds the program builds this. Always compiled for the CPU of this machine.
let package = Package(
    name: "cosmos-benchmarks",
    dependencies: [
        .package(name: "cosmos-train", path: "..", traits: ["Native"]),
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    ],
    targets: [
        .executableTarget(
            name: "cosmos-benchmarks",
            dependencies: [
                .product(name: "Kernels", package: "cosmos-train"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: [.unsafeFlags(["-Xcc", "-march=native"])])
    ],
    swiftLanguageModes: [.v6]
)
