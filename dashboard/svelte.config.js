export default { compilerOptions: { discloseVersion: false } };
