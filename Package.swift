// swift-tools-version: 6.1
import PackageDescription

// The default build runs on any x86-64 CPU. `--traits Native` (what scripts/build.sh uses) lets the
// compiler use every instruction of the machine it runs on; such a binary refuses to start elsewhere.
let kernelSettings: [SwiftSetting] = [
    .unsafeFlags(["-Xcc", "-march=native"], .when(traits: ["Native"]))
]

let package = Package(
    name: "cosmos-train",
    products: [
        .executable(name: "cosmos-train", targets: ["cosmos-train"])
    ],
    traits: [
        .trait(name: "Native", description: "Compile for the CPU of this machine (-march=native)."),
        .trait(name: "MPI", description: "Runs over several machines, by Open MPI."),
    ],
    // Exact versions: what is built today is what is built next year.
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
    ],
    targets: [
        // C libraries and header-only shims; each is imported by exactly one Swift file.
        .systemLibrary(name: "CVector"),
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "CLAPACKE", pkgConfig: "lapacke", providers: [.apt(["liblapacke-dev"])]),
        .systemLibrary(name: "CHwloc", pkgConfig: "hwloc", providers: [.apt(["libhwloc-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(
            name: "CMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev", "openmpi-bin"])]),
        .target(name: "CMachineLimit"),
        .target(name: "CPlatform"),
        .target(name: "COneDNN", linkerSettings: [.linkedLibrary("dnnl")]),
        .target(
            name: "CSentencePiece",
            linkerSettings: [.linkedLibrary("sentencepiece"), .linkedLibrary("sentencepiece_train")]),

        .target(name: "Console"),
        .target(name: "Files", dependencies: ["Console"]),
        .target(name: "Configuration", dependencies: ["Files", .product(name: "Yams", package: "Yams")]),
        .target(
            name: "TensorCore",
            dependencies: ["CPlatform", "CVector", "CMachineLimit", "CHwloc", "COpenBLAS", "CLAPACKE", "COneDNN"],
            swiftSettings: kernelSettings),
        .target(
            name: "LLaMA", dependencies: ["TensorCore", "Configuration"], swiftSettings: kernelSettings),
        .target(
            name: "Optimizers", dependencies: ["TensorCore", "Configuration"],
            swiftSettings: kernelSettings),
        .target(
            name: "TokenData",
            dependencies: ["TensorCore", "Configuration", "CZlib", "CSentencePiece"],
            swiftSettings: kernelSettings),
        .target(name: "Machine", dependencies: ["TensorCore", "TokenData"], swiftSettings: kernelSettings),
        .target(
            name: "Ranks", dependencies: ["Machine", .target(name: "CMPI", condition: .when(traits: ["MPI"]))],
            swiftSettings: kernelSettings),
        .target(name: "ModelFiles", dependencies: ["LLaMA", "TokenData"], swiftSettings: kernelSettings),
        .target(name: "Generation", dependencies: ["ModelFiles"], swiftSettings: kernelSettings),
        .target(name: "Checkpoints", dependencies: ["ModelFiles", "Machine"], swiftSettings: kernelSettings),
        .target(name: "Settings", dependencies: ["Checkpoints", "Optimizers"], swiftSettings: kernelSettings),
        .target(name: "Planning", dependencies: ["Settings"], swiftSettings: kernelSettings),
        .target(name: "Training", dependencies: ["Planning", "Ranks"], swiftSettings: kernelSettings),
        .target(name: "Comparison", dependencies: ["Training"]),
        .executableTarget(
            name: "cosmos-train",
            dependencies: [
                "Comparison", "Generation", "Ranks", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: kernelSettings, plugins: ["SourceCommit"]),
        .plugin(name: "SourceCommit", capability: .buildTool()),
        // Times kernels and predicts how a step scales; nobody installs it.
        .executableTarget(
            name: "cosmos-benchmarks",
            dependencies: ["Training", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            path: "Benchmarks", swiftSettings: kernelSettings),

        // Watches malloc in the tests' process.
        .target(name: "CAllocations", path: "Tests/CAllocations"),
        .target(
            name: "TestSupport", dependencies: ["CAllocations", "Checkpoints", "Optimizers", "Ranks"],
            path: "Tests/TestSupport",
            swiftSettings: kernelSettings),
    ]
        + [
            "Console", "Files", "Configuration", "TensorCore", "LLaMA", "Optimizers", "TokenData", "Machine",
            "Ranks", "ModelFiles",
            "Generation", "Checkpoints", "Settings", "Planning", "Training", "Comparison",
        ].map { module in
            .testTarget(
                name: "\(module)Tests", dependencies: [.byName(name: module), "TestSupport"],
                // Golden numbers, read by path.
                exclude: ["LLaMA", "Optimizers", "Checkpoints"].contains(module) ? ["Fixtures"] : [],
                swiftSettings: kernelSettings)
        } + [
            // The program as a user runs it: commands, messages, exit codes.
            .testTarget(
                name: "CommandTests", dependencies: ["cosmos-train", "TestSupport"],
                swiftSettings: kernelSettings)
        ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx20
)
