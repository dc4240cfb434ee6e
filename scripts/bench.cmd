@py -3 "%~dp0bench" %*
@exit /b %ERRORLEVEL%
